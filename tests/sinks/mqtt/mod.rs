//! MQTT into a real Mosquitto, read by `mosquitto_sub`.

mod outages;
mod records;
mod sessions;
mod smoke;
