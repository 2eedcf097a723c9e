"""People from frame to frame: boxes carried along, ids that persist, keypoints without jitter."""
