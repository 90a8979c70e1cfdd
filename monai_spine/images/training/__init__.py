"""What only training needs: augmentation, mixing of images, and the loss."""
