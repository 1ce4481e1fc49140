"""ESC-Net: from the correlation of an image with texts to a map for each text, with the attention of a SAM decoder.

Lee et al., "Effective SAM Combination for Open-Vocabulary Semantic Segmentation" (CVPR 2025, arXiv 2411.14723), on the
cost aggregation of CAT-Seg (Cho et al., CVPR 2024). The authors' code is not public: where the paper leaves something
open, the modules say what is chosen here.
"""
