//! From sources to chunks: fetching, cleaning, quality, cutting, in content-addressed layers. Knows no index.
