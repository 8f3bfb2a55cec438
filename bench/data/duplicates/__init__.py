"""Pictures that stand in a dataset twice.

`near.find_near_duplicates(manifest, load)` finds copies in seconds; `search.find_duplicates` finds
further photographs of a lesion, too, in minutes. Both give `pairs.Duplicates`: `.pairs` cross
native groups, `.sure` are above the thresholds, `.apart(group_of)` are those that a grouping leaves
in two groups. `bench.data.images.loader(find_images(source))` is a `load`.
"""
