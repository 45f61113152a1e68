//! What is kept between builds, by digest.
