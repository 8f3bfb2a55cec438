"""Duplicate images in a dataset.

`near.find_near_duplicates(dataset, load)` finds copies in seconds; `search.find_duplicates` also
finds further photographs of a lesion, in minutes. Both return `near.Duplicates`: `.pairs` are in
different native groups, `.sure` are above the thresholds, `.apart(group_of)` are in different
groups of a given grouping. `bench.data.images.loader(find_images(source))` is a `load`.
"""
