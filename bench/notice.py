"""What stands beside every answer about a picture."""

NO_DEVICE = (
    "Research software, no medical device: what it says of a picture is no diagnosis and must not "
    "decide about anyone's care. See a doctor about any spot that worries you."
)
