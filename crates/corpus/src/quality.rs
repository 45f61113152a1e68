//! `quality` in `indexes/NAME.yaml`: what a corpus must be before a new generation is built from it.
