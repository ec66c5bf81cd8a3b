//! Which arguments decide the build, and which are for `pgm`.

use std::ffi::{OsStr, OsString};

use anyhow::{Context, Result, bail};

use crate::backend::Backend;
use crate::command_line::CommandLine;

/// A command of `pgm` and its arguments, split.
#[derive(Debug, PartialEq, Eq)]
pub struct PgmArgs {
    /// What to build.
    pub build: PgmBuild,
    /// What `pgm` is handed: everything but `--release` and `--dev`.
    pub passed_on: Vec<OsString>,
}

/// Which `pgm` to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgmBuild {
    /// What it computes on.
    pub backend: Backend,
    /// How far it is optimised.
    pub profile: Profile,
}

/// A profile of cargo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build; dependencies are optimised, the workspace's own crates hardly.
    Dev,
    /// Slow to build, and the fastest.
    Release,
}

impl PgmArgs {
    /// Reads `--backend`, `--release` and `--dev` wherever they stand before a `--`.
    ///
    /// # Errors
    /// For an unknown backend, a `--backend` without a name, and both profiles at once.
    pub fn split(args: Vec<OsString>) -> Result<Self> {
        let mut backend = Backend::Flex;
        let mut profile = None;
        let mut passed_on = Vec::with_capacity(args.len());
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--") => {
                    passed_on.push(arg);
                    passed_on.extend(args);
                    break;
                }
                Some("--release") => profile = Some(one_profile(profile, Profile::Release)?),
                Some("--dev") => profile = Some(one_profile(profile, Profile::Dev)?),
                Some("--backend") => {
                    let name = args
                        .next()
                        .context("`--backend` wants a name, as in `--backend wgpu`")?;
                    backend = backend_from(&name)?;
                    passed_on.extend([arg, name]);
                }
                Some(text) => {
                    if let Some(name) = text.strip_prefix("--backend=") {
                        backend = Backend::from_name(name)?;
                    }
                    passed_on.push(arg);
                }
                None => passed_on.push(arg),
            }
        }
        let profile = profile.unwrap_or(match backend {
            Backend::Flex => Profile::Dev,
            _ => Profile::Release,
        });
        Ok(Self {
            build: PgmBuild { backend, profile },
            passed_on,
        })
    }
}

impl PgmBuild {
    /// The call of cargo that builds it.
    pub fn command_line(self) -> CommandLine {
        let mut args = vec!["build", "--package", "pgm-cli"];
        // The CPU is a default feature: the plain build shares its outputs with the tests.
        if self.backend != Backend::Flex {
            args.extend(["--features", self.backend.name()]);
        }
        if self.profile == Profile::Release {
            args.push("--release");
        }
        CommandLine::cargo(args)
    }
}

impl Profile {
    /// Its name in cargo.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

fn backend_from(name: &OsStr) -> Result<Backend> {
    Backend::from_name(&name.to_string_lossy())
}

fn one_profile(before: Option<Profile>, now: Profile) -> Result<Profile> {
    if before.is_some_and(|before| before != now) {
        bail!("`--release` and `--dev` exclude each other; leave one out");
    }
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(args: &[&str]) -> Result<PgmArgs> {
        PgmArgs::split(args.iter().map(OsString::from).collect())
    }

    fn plan(args: &[&str]) -> String {
        split(args).unwrap().build.command_line().to_string()
    }

    #[test]
    fn the_cpu_is_built_plainly() {
        assert_eq!(plan(&[]), "cargo build --package pgm-cli");
        assert_eq!(
            plan(&["--backend", "flex"]),
            "cargo build --package pgm-cli"
        );
        assert_eq!(
            plan(&["--release"]),
            "cargo build --package pgm-cli --release"
        );
    }

    #[test]
    fn other_backends_are_a_feature_and_optimised() {
        for name in ["wgpu", "vulkan", "metal", "cuda"] {
            assert_eq!(
                plan(&["--backend", name]),
                format!("cargo build --package pgm-cli --features {name} --release")
            );
        }
        assert_eq!(
            plan(&["--dev", "--backend=wgpu"]),
            "cargo build --package pgm-cli --features wgpu"
        );
    }

    #[test]
    fn the_backend_is_passed_on_and_the_profile_is_not() {
        let args = split(&["--n", "2", "--release", "--backend=wgpu", "--run", "a b"]).unwrap();
        assert_eq!(
            args.passed_on,
            ["--n", "2", "--backend=wgpu", "--run", "a b"]
        );
        assert_eq!(args.build.backend, Backend::Wgpu);
        let args = split(&["--backend", "cuda", "--dev", "--help"]).unwrap();
        assert_eq!(args.passed_on, ["--backend", "cuda", "--help"]);
        assert_eq!(args.build.profile, Profile::Dev);
        let from = ["--from", "pretrained", "--set", "data.inputs=[\"a b\"]"];
        assert_eq!(split(&from).unwrap().passed_on, from);
    }

    #[test]
    fn nothing_is_read_after_two_dashes() {
        let args = split(&["--", "--backend", "none", "--release"]).unwrap();
        assert_eq!(args.passed_on, ["--", "--backend", "none", "--release"]);
        assert_eq!(args.build.backend, Backend::Flex);
        assert_eq!(args.build.profile, Profile::Dev);
    }

    #[test]
    fn wrong_arguments_are_explained() {
        for (args, words) in [
            (&["--backend"][..], "wants a name"),
            (&["--backend", "vulcan"], "did you mean `vulkan`"),
            (&["--backend=CUDA12"], "did you mean `cuda`"),
            (&["--dev", "--release"], "exclude each other"),
        ] {
            let error = split(args).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
