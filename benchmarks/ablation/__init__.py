"""What each stage of the cipher buys, and whether its network should be trained: measured, for docs/ABLATION.md.

``make ablation`` runs it. Research code: the variants are weaker than the cipher, and some are broken here.
"""
