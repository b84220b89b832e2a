"""Evaluation protocols, pictures and run records: usable with every module that fits.

Names are imported when they are first used, so that start-up stays quick.
"""

from importlib import import_module
from typing import Any

EXPORTS = {
    "COCOEvaluation": "callbacks.detection.coco_evaluation",
    "DetectionPicture": "callbacks.detection.detection_picture",
    "LVISEvaluation": "callbacks.detection.lvis_evaluation",
    "MinedBoxPicture": "callbacks.detection.mined_box_picture",
    "ProposalRecall": "callbacks.detection.proposal_recall",
    "VOCEvaluation": "callbacks.detection.voc_evaluation",
    "AnalysisReport": "callbacks.vit_analysis.analysis_report",
    "AttentionAnalysis": "callbacks.vit_analysis.attention_analysis",
    "AttentionSaliency": "callbacks.vit_analysis.attention_saliency",
    "BackboneWriter": "callbacks.backbone_writer",
    "AttributionWriter": "callbacks.gan_discovery.attribution_writer",
    "ClusteringBaseline": "callbacks.gan_discovery.clustering_baseline",
    "ClusterReport": "callbacks.gan_discovery.cluster_report",
    "DiscoveryEvaluation": "callbacks.gan_discovery.discovery_evaluation",
    "OutOfDistributionEvaluation": "callbacks.gan_discovery.out_of_distribution_evaluation",
    "RealFakeVote": "callbacks.gan_discovery.real_fake_vote",
    "Complexity": "callbacks.complexity",
    "FeatureClustering": "callbacks.vit_analysis.feature_clustering",
    "FeatureSimilarity": "callbacks.vit_analysis.feature_similarity",
    "FeatureWriter": "callbacks.feature_writer",
    "FiniteLoss": "callbacks.finite_loss",
    "FrechetDistance": "callbacks.generation.frechet_distance",
    "FrequencySpectrum": "callbacks.generation.frequency_spectrum",
    "GeneratorHealth": "callbacks.generation.generator_health",
    "NoiseVariation": "callbacks.generation.noise_variation",
    "ReconstructionEvaluation": "callbacks.generation.reconstruction_evaluation",
    "SampleGrid": "callbacks.generation.sample_grid",
    "TranslationWriter": "callbacks.generation.translation_writer",
    "ImageRetrieval": "callbacks.vit_analysis.image_retrieval",
    "KeypointCorrespondence": "callbacks.keypoint_correspondence",
    "LinearProbe": "callbacks.vit_analysis.linear_probe",
    "NearestNeighbours": "callbacks.vit_analysis.nearest_neighbours",
    "ObjectDiscovery": "callbacks.object_discovery",
    "PrincipalComponentPicture": "callbacks.pictures",
    "ReproducibleSteps": "callbacks.reproducible_steps",
    "ResultTable": "callbacks.result_table",
    "RunRecord": "callbacks.run_record",
    "ScaleInvariance": "callbacks.scale_invariance",
    "SelfSimilarityPicture": "callbacks.pictures",
    "VideoPropagation": "callbacks.video_propagation",
}
__all__ = list(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)
