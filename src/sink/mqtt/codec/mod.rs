//! Bytes of MQTT, without any I/O: CONNECT and CONNACK, PUBLISH, the short packets, and what reason
//! codes mean.

pub(crate) mod handshake;
pub(crate) mod packet;
pub(crate) mod publish;
pub(crate) mod reason;
