"""Classification of single 2-D images: their datalist and pixels, the network, its training, its evaluation."""
