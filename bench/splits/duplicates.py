"""Pictures that stand in a dataset twice under different lesion ids.

Nothing of one lesion may stand on two sides of a fold, so groups that share a picture are joined
before freezing. Three looks, each narrower than the last:

1. a perceptual hash (imagehash.phash, 64 bits) of every image under the 8 flips and quarter turns
   gives candidate pairs, generously: two shots of one scene agree on most of the bits;
2. the Pearson correlation of small colour images, aligned by the best of the 8 symmetries, orders
   the candidates;
3. a person looks at every candidate above the borderline and writes down the verdict.
"""
