//! The other files that TensorFlow Serving's flags name, in protobuf's text format.
//!
//! What they say and this server does not do is told as a warning, or refused where answers would
//! differ.

use std::path::Path;
use std::time::Duration;

use sardonyx_wire::text::{batching_parameters, monitoring_config, ssl_config};

use super::ServeConfig;
use crate::doors::listen::TlsTexts;
use crate::error::{Result, ServeError, invalid};

/// Where TensorFlow Serving shows its metrics unless told otherwise.
const METRICS_PATH: &str = "/monitoring/prometheus/metrics";

impl ServeConfig {
    /// Applies the file of `--batching_parameters_file` to every model that is configured so far.
    ///
    /// # Errors
    /// When the file cannot be read, or asks for what is not there.
    pub fn apply_batching_parameters(&mut self, path: &Path) -> Result<()> {
        let parameters = read(path, batching_parameters)?;
        let given = |name: &str, value: Option<i64>| {
            let number = value.map(usize::try_from).transpose();
            number.map_err(|_| wrong(path, &format!("{name} is negative")))
        };
        let value = |value: &Option<sardonyx_wire::proto::well_known::Int64Value>| {
            value.as_ref().map(|value| value.value)
        };
        if parameters.pad_variable_length_inputs {
            let message = "pad_variable_length_inputs is not supported; hint: requests of one \
                           shape are gathered, others run apart";
            return Err(wrong(path, message));
        }
        let largest = given("max_batch_size", value(&parameters.max_batch_size))?;
        let run = given(
            "max_execution_batch_size",
            value(&parameters.max_execution_batch_size),
        )?;
        let queued = given(
            "max_enqueued_batches",
            value(&parameters.max_enqueued_batches),
        )?;
        let lanes = given("num_batch_threads", value(&parameters.num_batch_threads))?;
        let delay = given(
            "batch_timeout_micros",
            value(&parameters.batch_timeout_micros),
        )?;
        for batch in self.models.iter_mut().map(|model| &mut model.batch) {
            batch.max_batch_size = run.or(largest).unwrap_or(batch.max_batch_size);
            if let Some(batches) = queued {
                batch.max_queue = batches.saturating_mul(batch.max_batch_size);
            }
            let delay = delay.map(|micros| Duration::from_micros(micros as u64));
            batch.max_delay = delay.unwrap_or(batch.max_delay);
        }
        for model in &mut self.models {
            model.lanes = lanes.unwrap_or(model.lanes);
        }
        for (is_given, name, why) in [
            (
                parameters.thread_pool_name.is_some(),
                "thread_pool_name",
                "pools have no names",
            ),
            (
                !parameters.allowed_batch_sizes.is_empty(),
                "allowed_batch_sizes",
                "powers of two and one and a half times those are run",
            ),
            (
                parameters.enable_large_batch_splitting.is_some(),
                "enable_large_batch_splitting",
                "a large request runs as it is",
            ),
        ] {
            if is_given {
                self.warn(path, &format!("{name} is not used: {why}"));
            }
        }
        if self.root.is_some() {
            self.warn(path, "models of a folder keep the usual batching");
        }
        Ok(())
    }

    /// Applies the file of `--monitoring_config_file`.
    ///
    /// # Errors
    /// When the file cannot be read, or its path is none.
    pub fn apply_monitoring_config(&mut self, path: &Path) -> Result<()> {
        let prometheus = read(path, monitoring_config)?
            .prometheus_config
            .unwrap_or_default();
        if !prometheus.enable {
            self.warn(
                path,
                "metrics stay on: who may read them is a matter of keys",
            );
        }
        self.has_tensorflow_metrics |= prometheus.enable;
        if !prometheus.path.is_empty() && prometheus.path != METRICS_PATH {
            if !prometheus.path.starts_with('/') {
                return Err(wrong(
                    path,
                    "prometheus_config.path does not begin with '/'",
                ));
            }
            self.metrics_path = Some(prometheus.path);
        }
        Ok(())
    }

    /// Applies the file of `--ssl_config_file`, which has the certificates in it. Unlike there,
    /// HTTP gets them too.
    ///
    /// # Errors
    /// When the file cannot be read or lacks a certificate or key.
    pub fn apply_ssl_config(&mut self, path: &Path) -> Result<()> {
        let ssl = read(path, ssl_config)?;
        for (text, name) in [
            (&ssl.server_key, "server_key"),
            (&ssl.server_cert, "server_cert"),
        ] {
            if text.is_empty() {
                return Err(wrong(path, &format!("{name} is missing")));
            }
        }
        if ssl.client_verify && ssl.custom_ca.is_empty() {
            return Err(wrong(path, "client_verify needs custom_ca"));
        }
        self.tls_texts = Some(TlsTexts {
            certificate: ssl.server_cert,
            key: ssl.server_key,
            client_roots: Some(ssl.custom_ca).filter(|_| ssl.client_verify),
        });
        Ok(())
    }

    fn warn(&mut self, path: &Path, message: &str) {
        self.warnings.push(format!("{}: {message}", path.display()));
    }
}

fn read<T, E: std::fmt::Display>(
    path: &Path,
    parse: impl FnOnce(&str) -> std::result::Result<T, E>,
) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|error| wrong(path, &error.to_string()))?;
    parse(&text).map_err(|error| wrong(path, &error.to_string()))
}

fn wrong(path: &Path, message: &str) -> ServeError {
    invalid(format!("{}: {message}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ModelConfig;

    fn with(
        text: &str,
        apply: fn(&mut ServeConfig, &Path) -> Result<()>,
    ) -> Result<ServeConfig, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file.config");
        std::fs::write(&path, text).expect("written");
        let mut config = ServeConfig::default();
        config.models.push(ModelConfig::new("m", "m"));
        match apply(&mut config, &path) {
            Ok(()) => Ok(config),
            Err(error) => Err(error.message),
        }
    }

    #[test]
    fn batching_parameters_go_to_every_model() {
        let text = "max_batch_size { value: 8 } batch_timeout_micros { value: 500 }
            max_enqueued_batches { value: 10 } num_batch_threads { value: 2 }
            thread_pool_name { value: 'p' } allowed_batch_sizes: 8";
        let config = with(text, ServeConfig::apply_batching_parameters).expect("valid");
        let model = &config.models[0];
        assert_eq!((model.batch.max_batch_size, model.batch.max_queue), (8, 80));
        assert_eq!(
            (model.batch.max_delay, model.lanes),
            (Duration::from_micros(500), 2)
        );
        assert_eq!(config.warnings.len(), 2);
        assert!(config.warnings[1].contains("allowed_batch_sizes"));
        for (text, expected) in [
            (
                "pad_variable_length_inputs: true",
                "pad_variable_length_inputs",
            ),
            ("max_batch_size { value: -1 }", "max_batch_size is negative"),
            ("max_bach_size { value: 1 }", "max_bach_size"),
        ] {
            let message = with(text, ServeConfig::apply_batching_parameters);
            let message = message.expect_err("it is wrong");
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn metrics_go_where_they_are_asked_for() {
        let text = "prometheus_config { enable: true, path: '/my/metrics' }";
        let config = with(text, ServeConfig::apply_monitoring_config).expect("valid");
        assert!(config.has_tensorflow_metrics && config.warnings.is_empty());
        assert_eq!(config.metrics_path.as_deref(), Some("/my/metrics"));
        let off = with("", ServeConfig::apply_monitoring_config).expect("valid");
        assert!(off.warnings[0].contains("metrics stay on"));
        let wrong = "prometheus_config { enable: true path: 'x' }";
        assert!(with(wrong, ServeConfig::apply_monitoring_config).is_err());
    }

    #[test]
    fn certificates_are_in_the_file_itself() {
        let text = "server_key: 'k' server_cert: 'c' custom_ca: 'r' client_verify: true";
        let config = with(text, ServeConfig::apply_ssl_config).expect("valid");
        let texts = config.tls_texts.expect("certificates");
        assert_eq!(texts.client_roots.as_deref(), Some("r"));
        for text in [
            "server_key: 'k'",
            "server_key: 'k' server_cert: 'c' client_verify: true",
        ] {
            assert!(with(text, ServeConfig::apply_ssl_config).is_err(), "{text}");
        }
    }
}
