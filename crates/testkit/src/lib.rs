//! What tests share: a sandbox workspace, a loopback model server, the real binary.
