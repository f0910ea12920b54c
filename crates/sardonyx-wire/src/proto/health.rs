//! `grpc.health.v1`.

/// Asks after a service (`Health.Check`, `Health.Watch`).
#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckRequest {
    /// Full name of the service; empty for the server as a whole.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// How a service is.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct HealthCheckResponse {
    /// A [`ServingStatus`].
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub status: i32,
}

/// Whether a service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ServingStatus {
    /// Not said.
    Unknown = 0,
    /// It answers.
    Serving = 1,
    /// It does not.
    NotServing = 2,
    /// There is no such service (only from `Watch`).
    ServiceUnknown = 3,
}
