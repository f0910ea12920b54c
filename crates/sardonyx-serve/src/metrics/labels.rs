//! The values that labels take: closed sets, so that no client can make the number of series grow.

use crate::error::Code;

/// Declares an enumeration whose members are values of one label.
macro_rules! label_values {
    ($(#[$about:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident => $label:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of their indices.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The value as it appears in the exposition and in logs.
            pub const fn label(self) -> &'static str {
                match self {
                    $($name::$variant => $label,)+
                }
            }
        }
    };
}

label_values! {
    /// Which protocol a request came by.
    Door {
        /// REST v1 of TensorFlow Serving.
        TensorflowRest => "tensorflow_rest",
        /// `PredictionService` of TensorFlow Serving.
        TensorflowGrpc => "tensorflow_grpc",
        /// REST v2 of KServe and Triton.
        KserveRest => "kserve_rest",
        /// `GRPCInferenceService` of KServe and Triton.
        KserveGrpc => "kserve_grpc",
    }
}

label_values! {
    /// What a request asked of a model.
    Verb {
        /// TensorFlow Serving's predict.
        Predict => "predict",
        /// TensorFlow Serving's classify.
        Classify => "classify",
        /// TensorFlow Serving's regress.
        Regress => "regress",
        /// TensorFlow Serving's several tasks over one input.
        MultiInference => "multi_inference",
        /// KServe's infer.
        Infer => "infer",
        /// Metadata, configuration, status, statistics.
        Metadata => "metadata",
    }
}

label_values! {
    /// How a request ended: the canonical codes, in the order of their numbers
    /// (<https://grpc.io/docs/guides/status-codes/>).
    Status {
        /// It was answered.
        Ok => "OK",
        /// The client withdrew it.
        Cancelled => "CANCELLED",
        /// Nobody knows.
        Unknown => "UNKNOWN",
        /// The request is at fault.
        InvalidArgument => "INVALID_ARGUMENT",
        /// Its time ran out.
        DeadlineExceeded => "DEADLINE_EXCEEDED",
        /// There is no such model, version or label.
        NotFound => "NOT_FOUND",
        /// It is there already.
        AlreadyExists => "ALREADY_EXISTS",
        /// The key does not reach so far.
        PermissionDenied => "PERMISSION_DENIED",
        /// The queue, or another limit, is full.
        ResourceExhausted => "RESOURCE_EXHAUSTED",
        /// Not in this state.
        FailedPrecondition => "FAILED_PRECONDITION",
        /// Something else came in between.
        Aborted => "ABORTED",
        /// Outside what is valid.
        OutOfRange => "OUT_OF_RANGE",
        /// The server does not do this.
        Unimplemented => "UNIMPLEMENTED",
        /// The server, or the model, is at fault.
        Internal => "INTERNAL",
        /// Not now.
        Unavailable => "UNAVAILABLE",
        /// Something is lost.
        DataLoss => "DATA_LOSS",
        /// No key, or a wrong one.
        Unauthenticated => "UNAUTHENTICATED",
    }
}

impl Status {
    /// Whether the server, not the request, is at fault: what an error budget counts.
    pub const fn is_server_fault(self) -> bool {
        matches!(
            self,
            Status::Unknown | Status::Internal | Status::Unavailable | Status::DataLoss
        )
    }
}

impl From<Code> for Status {
    fn from(code: Code) -> Status {
        usize::try_from(code.grpc_code())
            .ok()
            .and_then(|number| Status::ALL.get(number).copied())
            .unwrap_or(Status::Unknown)
    }
}

label_values! {
    /// Why a request did not run.
    Rejection {
        /// The queue was full.
        QueueFull => "queue_full",
        /// Its deadline passed before it ran.
        Deadline => "deadline",
        /// Its client had left before it ran.
        Abandoned => "abandoned",
        /// It was malformed, or did not suit the model's signature.
        Invalid => "invalid",
        /// No such model, version, label or path.
        NotFound => "not_found",
        /// It brought no key, or a wrong one.
        Unauthorised => "unauthorised",
        /// Its key does not reach this model or verb.
        Forbidden => "forbidden",
        /// It, or a tensor in it, was over a limit.
        TooLarge => "too_large",
        /// It arrived too slowly.
        TooSlow => "too_slow",
        /// The server, or the version, was starting or stopping.
        Unavailable => "unavailable",
    }
}

impl Rejection {
    /// The reason that an error of kind `code` stands for before anything ran, if it is one.
    pub const fn of(code: Code) -> Option<Rejection> {
        match code {
            Code::InvalidArgument => Some(Rejection::Invalid),
            Code::DeadlineExceeded => Some(Rejection::Deadline),
            Code::NotFound => Some(Rejection::NotFound),
            Code::ResourceExhausted => Some(Rejection::QueueFull),
            Code::Unavailable => Some(Rejection::Unavailable),
            Code::PermissionDenied => Some(Rejection::Forbidden),
            Code::Unauthenticated => Some(Rejection::Unauthorised),
            _ => None,
        }
    }
}

label_values! {
    /// How a request came to a version.
    Pick {
        /// The only, or the newest, version.
        Default => "default",
        /// The request named the version.
        Version => "version",
        /// The request named a label.
        Label => "label",
        /// A rollout's weights chose.
        Weight => "weight",
        /// A rollout's weights chose, by the request's sticky key.
        Sticky => "sticky",
    }
}

label_values! {
    /// What became of a request that was mirrored to a shadow.
    ShadowResult {
        /// Its outputs equal the champion's within the tolerance.
        Agreed => "agreed",
        /// They do not.
        Disagreed => "disagreed",
        /// The shadow failed.
        Failed => "failed",
        /// The shadow was too busy; the champion never waits.
        Dropped => "dropped",
    }
}

label_values! {
    /// Where a version is in its life, as TensorFlow Serving names it.
    VersionState {
        /// Known, and not loading yet.
        Start => "START",
        /// Being read and warmed up.
        Loading => "LOADING",
        /// Taking requests.
        Available => "AVAILABLE",
        /// Finishing what it has.
        Unloading => "UNLOADING",
        /// Gone, or failed.
        End => "END",
    }
}

label_values! {
    /// What is read again while the server runs.
    Reload {
        /// Certificates and their private key.
        Certificate => "certificate",
        /// The configuration.
        Config => "config",
        /// Bearer keys.
        Keys => "keys",
        /// The folder of models.
        Models => "models",
        /// The file that a rollout is kept in.
        Rollout => "rollout",
    }
}

label_values! {
    /// A log that the server writes.
    LogKind {
        /// One line a request.
        Access => "access",
        /// A sample of requests with what went in and came out.
        Request => "request",
    }
}

label_values! {
    /// What became of a log line.
    LogResult {
        /// It is in the file.
        Written => "written",
        /// The writer was behind; no request waits for it.
        Dropped => "dropped",
        /// The file could not be written.
        Failed => "failed",
    }
}

label_values! {
    /// A listening socket.
    Port {
        /// Requests over HTTP.
        Http => "http",
        /// Requests over gRPC.
        Grpc => "grpc",
        /// Orders to the server.
        Admin => "admin",
    }
}
