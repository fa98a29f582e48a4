//! Credentials: the keys of Classic Central, the access tokens of New Central, and the signed tokens
//! that both are made of.

mod jwt;
pub(super) mod keys;
pub(super) mod tokens;
