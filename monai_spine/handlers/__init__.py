"""Ignite handlers, one a file."""

from monai_spine.handlers.activation_overlays import ActivationOverlays
from monai_spine.handlers.batch_statistics import BatchStatistics
from monai_spine.handlers.best_model import BestModel
from monai_spine.handlers.classification_report import ClassificationReport
from monai_spine.handlers.confusion_matrix import ConfusionMatrix
from monai_spine.handlers.decision_thresholds import DecisionThresholds
from monai_spine.handlers.embedding_projector import EmbeddingProjector
from monai_spine.handlers.epoch_report import EpochReport
from monai_spine.handlers.fresh_items import FreshItems
from monai_spine.handlers.graded_crops import GradedCrops
from monai_spine.handlers.hyper_parameters import HyperParameters
from monai_spine.handlers.judged_images import JudgedImages
from monai_spine.handlers.landmark_report import LandmarkReport
from monai_spine.handlers.learning_rate import LearningRate
from monai_spine.handlers.point_writer import PointWriter
from monai_spine.handlers.precision_recall import PrecisionRecall
from monai_spine.handlers.prediction_writer import PredictionWriter
from monai_spine.handlers.run_record import RunRecord
from monai_spine.handlers.run_state import RunState
from monai_spine.handlers.score_report import ScoreReport
from monai_spine.handlers.study_pictures import StudyPictures
from monai_spine.handlers.weight_average import WeightAverage
from monai_spine.handlers.worst_volumes import WorstVolumes
from monai_spine.weights import load_weights

__all__ = [
    "ActivationOverlays",
    "BatchStatistics",
    "BestModel",
    "ClassificationReport",
    "ConfusionMatrix",
    "DecisionThresholds",
    "EmbeddingProjector",
    "EpochReport",
    "FreshItems",
    "GradedCrops",
    "HyperParameters",
    "JudgedImages",
    "LandmarkReport",
    "LearningRate",
    "PointWriter",
    "PrecisionRecall",
    "PredictionWriter",
    "RunRecord",
    "RunState",
    "ScoreReport",
    "StudyPictures",
    "WeightAverage",
    "WorstVolumes",
    "load_weights",
]
