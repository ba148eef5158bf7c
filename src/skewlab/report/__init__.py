"""From runs on disk to the study's answer. Reads files only, and never imports torch."""
