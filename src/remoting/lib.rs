//! Wire formats of agents and peers: bytes in, values out.
