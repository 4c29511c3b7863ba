//! Settings in layers: defaults < file < environment < options of the command.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Named, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::{CoordinatorUrl, DEFAULT_COORDINATOR};
use super::errors::{CommandError, ExitCode};
use super::files::{DEFAULT_MINER, Home};
use crate::nearest::nearest;

/// What begins the name of every environment variable.
pub const VARIABLE_PREFIX: &str = "AITBC_";
/// Where users see their settings.
const SEE: &str = "each setting's origin is shown by: aitbc config show";

/// Where the layers of some settings come from.
#[derive(Debug)]
pub struct Layers<'a, T, F> {
    /// What holds where nothing else is said; its fields are the settings that there are.
    pub defaults: T,
    /// A TOML file; it need not exist unless `file_required`.
    pub file: Option<&'a Path>,
    /// Whether a missing file is an error.
    pub file_required: bool,
    /// Environment variables: `PREFIX` and the setting's name in capitals.
    pub prefix: &'a str,
    /// Where to see the settings that there are: ends the hint of a value that is not one.
    pub see: &'a str,
    /// The environment, usually [`environment`].
    pub environment: BTreeMap<String, String>,
    /// The options given, as a struct or map with some of the fields; `None` fields are not given.
    pub options: F,
}

/// Settings and where each one comes from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The settings.
    pub value: T,
    /// For each setting: `default`, `file PATH`, `environment variable NAME` or `option`.
    pub origins: BTreeMap<String, String>,
}

/// The process' environment variables that are text.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Puts the layers together. Unknown settings in the file are refused where `T` denies unknown fields.
pub fn load<T, F>(layers: Layers<'_, T, F>) -> Result<Loaded<T>, CommandError>
where
    T: Serialize + DeserializeOwned,
    F: Serialize,
{
    let mut figment = Figment::from(Named::new(
        "default",
        Serialized::defaults(&layers.defaults),
    ));
    let known: Vec<String> = figment
        .extract::<Dict>()
        .map_err(|e| explain(&e, layers.see))?
        .into_keys()
        .collect();
    if let Some(path) = layers.file
        && let Some(text) = read_file(path, layers.file_required)?
    {
        figment = figment.merge(Named::new(
            format!("file {}", path.display()),
            Toml::string(&text),
        ));
    }
    for key in &known {
        let name = format!("{}{}", layers.prefix, key.to_uppercase());
        if let Some(text) = layers
            .environment
            .get(&name)
            .filter(|text| !text.is_empty())
        {
            let value: Value = text.parse().expect("any text is a value");
            figment = figment.merge(Named::new(
                format!("environment variable {name}"),
                Serialized::default(key, value),
            ));
        }
    }
    let options = Figment::from(Serialized::defaults(layers.options))
        .extract::<Dict>()
        .map_err(|e| explain(&e, layers.see))?;
    let given: Dict = options
        .into_iter()
        .filter(|(_, value)| !matches!(value, Value::Empty(..)))
        .collect();
    figment = figment.merge(Named::new(
        "option",
        Serialized::from(given, Profile::Default),
    ));

    let value = figment
        .extract()
        .map_err(|error| explain(&error, layers.see))?;
    let origin = |key: &String| {
        let name = figment
            .find_metadata(key)
            .map_or_else(|| "default".to_owned(), |m| m.name.to_string());
        (key.clone(), name)
    };
    Ok(Loaded {
        value,
        origins: known.iter().map(origin).collect(),
    })
}

fn read_file(path: &Path, required: bool) -> Result<Option<String>, CommandError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(None),
        Err(error) => Err(CommandError::file(
            format_args!("read the settings in {}", path.display()),
            &error,
        )
        .with_hint("check the path and who may read it")),
    }
}

fn explain(error: &figment::Error, see: &str) -> CommandError {
    let place = error
        .metadata
        .as_ref()
        .map_or_else(String::new, |m| format!(" ({})", m.name));
    let key = error.path.join(".");
    let message = match &error.kind {
        Kind::UnknownField(name, _) => format!("unknown setting {name:?}{place}"),
        kind if key.is_empty() => format!("the settings do not parse: {kind}{place}"),
        kind => format!("setting {key:?}: {kind}{place}"),
    };
    let hint = match &error.kind {
        Kind::UnknownField(name, known) => match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}? There are: {}", known.join(", ")),
            None => format!("there are: {}", known.join(", ")),
        },
        _ => format!("correct it there; {see}"),
    };
    CommandError::usage(message).with_hint(hint)
}

/// Settings that the CLI and the miner share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// Where the coordinator is: `HOST:PORT` or `http(s)://HOST:PORT`; default 127.0.0.1:50051.
    pub coordinator: String,
    /// The authority (PEM file) that signed the coordinator's certificate, and the only one trusted then; default none: those
    /// that the system trusts. With one set, an address without `http://` is taken for `https://`, on loopback too.
    pub ca_certificate: Option<PathBuf>,
    /// Name of this user's miner where a command does not say; default rig-1.
    pub miner: String,
    /// Address of the wallet whose allowance pays where no password can be had; default none.
    pub payer: Option<String>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            coordinator: DEFAULT_COORDINATOR.to_owned(),
            ca_certificate: None,
            miner: DEFAULT_MINER.to_owned(),
            payer: None,
        }
    }
}

/// Options of a command that replace settings.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClientOptions {
    /// `--coordinator`.
    pub coordinator: Option<String>,
    /// `--ca-certificate`.
    pub ca_certificate: Option<PathBuf>,
    /// `--miner`, where it names the user's own miner.
    pub miner: Option<String>,
}

impl ClientSettings {
    /// The settings of this user, from the file in their home and the environment.
    pub fn load(home: &Home, options: ClientOptions) -> Result<Loaded<Self>, CommandError> {
        load(Layers {
            defaults: Self::default(),
            file: Some(&home.config_file()),
            file_required: false,
            prefix: VARIABLE_PREFIX,
            see: SEE,
            environment: environment(),
            options,
        })
    }

    /// The coordinator's address, with the certificate authority where one is set; that makes an address without a scheme `https`,
    /// on loopback too.
    pub fn coordinator_url(&self) -> Result<CoordinatorUrl, CommandError> {
        let url = CoordinatorUrl::parse(&self.coordinator)?;
        let plaintext = self.coordinator.contains("://") && !url.is_secure();
        let Some(path) = self.ca_certificate.as_ref().filter(|_| !plaintext) else {
            return Ok(url);
        };
        let hint = "name another: --ca-certificate FILE, or aitbc config set ca_certificate /path/to/ca.pem";
        let pem = fs::read(path).map_err(|error| {
            CommandError::file(
                format_args!("read the certificate authority {}", path.display()),
                &error,
            )
            .with_hint(hint)
        })?;
        if !matches!(CertificateDer::pem_slice_iter(&pem).next(), Some(Ok(_))) {
            return Err(CommandError::new(
                ExitCode::Failed,
                "TLS_SETTINGS",
                format!("there is no certificate (PEM) in {}", path.display()),
            )
            .with_hint(hint));
        }
        Ok(url.with_authority(pem))
    }
}

#[cfg(test)]
mod tests {
    use super::super::random_bytes;
    use super::*;

    struct TemporaryFile(PathBuf);

    impl TemporaryFile {
        fn new(text: &str) -> Self {
            let path = std::env::temp_dir().join(format!(
                "aitbc-config-{}.toml",
                hex::encode(random_bytes::<8>())
            ));
            fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            let _gone = fs::remove_file(&self.0);
        }
    }

    fn load_from(
        file: &str,
        environment: &[(&str, &str)],
        options: ClientOptions,
    ) -> Result<Loaded<ClientSettings>, CommandError> {
        let file = TemporaryFile::new(file);
        load(Layers {
            defaults: ClientSettings::default(),
            file: Some(&file.0),
            file_required: true,
            prefix: VARIABLE_PREFIX,
            see: SEE,
            environment: environment
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            options,
        })
    }

    #[test]
    fn later_layers_win_and_origins_are_known() {
        let file = "coordinator = \"file:1\"\nminer = \"from-file\"\n";
        let defaults = load_from("", &[], ClientOptions::default()).unwrap();
        assert_eq!(defaults.value, ClientSettings::default());
        assert_eq!(defaults.origins["ca_certificate"], "default");
        let environment = [
            ("AITBC_COORDINATOR", "env:2"),
            ("AITBC_HOME", "/x"),
            ("AITBC_CA_CERTIFICATE", ""),
        ];
        let loaded = load_from(file, &environment, ClientOptions::default()).unwrap();
        assert_eq!(
            (
                loaded.value.coordinator.as_str(),
                loaded.value.miner.as_str()
            ),
            ("env:2", "from-file")
        );
        assert_eq!(
            loaded.origins["coordinator"],
            "environment variable AITBC_COORDINATOR"
        );
        assert!(loaded.origins["miner"].starts_with("file /"));
        let options = ClientOptions {
            coordinator: Some("option:3".into()),
            ..ClientOptions::default()
        };
        let loaded = load_from(file, &environment, options).unwrap();
        assert_eq!(loaded.value.coordinator, "option:3");
        assert_eq!(loaded.origins["coordinator"], "option");
    }

    #[test]
    fn an_authority_is_read_only_where_it_matters_and_must_be_one() {
        let mut settings = ClientSettings {
            coordinator: "http://127.0.0.1:1".into(),
            ca_certificate: Some("/nonexistent/ca.pem".into()),
            ..ClientSettings::default()
        };
        assert!(!settings.coordinator_url().unwrap().is_secure());
        for encrypted in ["127.0.0.1:1", "https://127.0.0.1:1", "example.org:1"] {
            settings.coordinator = encrypted.into();
            let missing = settings.coordinator_url().unwrap_err();
            assert!(missing.message.contains("/nonexistent/ca.pem") && missing.hint.is_some());
        }
        let file = TemporaryFile::new("no certificate");
        settings.ca_certificate = Some(file.0.clone());
        let empty = settings.coordinator_url().unwrap_err();
        assert_eq!(empty.reason, "TLS_SETTINGS");
    }

    #[test]
    fn an_unknown_setting_is_refused_with_the_nearest_name() {
        let error = load_from("cordinator = \"x:1\"", &[], ClientOptions::default()).unwrap_err();
        assert_eq!(error.exit, ExitCode::Usage);
        assert!(
            error.message.contains("cordinator") && error.message.contains("file "),
            "{}",
            error.message
        );
        assert!(error.hint.unwrap().contains("\"coordinator\""));
    }

    #[test]
    fn what_does_not_parse_names_the_file() {
        for bad in ["coordinator = ", "coordinator = 5", "\u{0}"] {
            let error = load_from(bad, &[], ClientOptions::default()).unwrap_err();
            assert_eq!(error.exit, ExitCode::Usage, "{bad}");
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn a_missing_file_matters_only_where_it_was_named() {
        let path = Path::new("/nonexistent/aitbc.toml");
        assert_eq!(read_file(path, false).unwrap(), None);
        assert!(read_file(path, true).is_err());
    }
}
