"""Evaluation protocols, pictures and run records: usable with every module that fits.

Names are imported when they are first used, so that start-up stays quick.
"""

from visionscapes.exports import lazy_exports

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
    "BackboneWriter": "callbacks.run.backbone_writer",
    "AttributionWriter": "callbacks.source_discovery.attribution_writer",
    "ClusteringBaseline": "callbacks.source_discovery.clustering_baseline",
    "ClusterReport": "callbacks.source_discovery.cluster_report",
    "DiscoveryEvaluation": "callbacks.source_discovery.discovery_evaluation",
    "OutOfDistributionEvaluation": "callbacks.source_discovery.out_of_distribution_evaluation",
    "RealFakeVote": "callbacks.source_discovery.real_fake_vote",
    "Complexity": "callbacks.dense.complexity",
    "FeatureClustering": "callbacks.vit_analysis.feature_clustering",
    "FeatureSimilarity": "callbacks.vit_analysis.feature_similarity",
    "FeatureWriter": "callbacks.dense.feature_writer",
    "FiniteLoss": "callbacks.run.finite_loss",
    "FrechetDistance": "callbacks.generation.frechet_distance",
    "FrozenFeatures": "callbacks.run.frozen_features",
    "FrequencySpectrum": "callbacks.generation.frequency_spectrum",
    "GeneratorHealth": "callbacks.generation.generator_health",
    "NoiseVariation": "callbacks.generation.noise_variation",
    "ReconstructionEvaluation": "callbacks.generation.reconstruction_evaluation",
    "SampleGrid": "callbacks.generation.sample_grid",
    "TranslationWriter": "callbacks.generation.translation_writer",
    "ImageRetrieval": "callbacks.vit_analysis.image_retrieval",
    "KeypointCorrespondence": "callbacks.dense.keypoint_correspondence",
    "LinearProbe": "callbacks.vit_analysis.linear_probe",
    "NearestNeighbours": "callbacks.vit_analysis.nearest_neighbours",
    "ObjectDiscovery": "callbacks.dense.object_discovery",
    "PrincipalComponentPicture": "callbacks.dense.feature_pictures",
    "ReproducibleSteps": "callbacks.run.reproducible_steps",
    "ResultTable": "callbacks.results.result_table",
    "RunRecord": "callbacks.run.run_record",
    "StageFiles": "callbacks.source_discovery.stage_files",
    "ScaleInvariance": "callbacks.dense.scale_invariance",
    "SelfSimilarityPicture": "callbacks.dense.feature_pictures",
    "VideoPropagation": "callbacks.dense.video_propagation",
}
__getattr__, __dir__, __all__ = lazy_exports(__name__, EXPORTS)
