use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pgm_eval::{NumberedResult, ResultsFile};
use serde_json::Value;

/// Makes the folder for results, that of `--results` or the usual one, and finds out whether results can be written
/// there before any are computed.
pub fn results_folder(given: Option<&Path>, usual: PathBuf) -> Result<PathBuf> {
    let folder = given.map_or(usual, Path::to_path_buf);
    // Relative to the working directory, which has no name here.
    let probed = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &folder
    };
    probe(probed).with_context(|| {
        format!(
            "results cannot be written into `{}`; name another folder with --results DIR",
            probed.display()
        )
    })?;
    Ok(folder)
}

/// Opens the file in a folder whose results are of these settings, or begins it; `what` are the results, in words.
pub fn open_results<R: NumberedResult>(
    folder: &Path,
    settings: &Value,
    what: &str,
) -> Result<ResultsFile<R>> {
    let path = folder.join(ResultsFile::name_for(settings));
    let results = ResultsFile::open(&path, settings)?;
    let n_found = results.samples().len();
    if n_found > 0 {
        tracing::info!(n_found, path = %path.display(), "going on with {what} before");
    }
    Ok(results)
}

fn probe(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!(".probe.{}.tmp", std::process::id()));
    drop(File::create(&path)?);
    match fs::remove_file(&path) {
        // A process of another host with the same id was faster.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_text::error_text;

    #[test]
    fn a_folder_that_cannot_be_written_names_the_option() {
        let temporary = tempfile::tempdir().unwrap();
        let usual = temporary.path().join("run/perplexities");
        assert_eq!(results_folder(None, usual.clone()).unwrap(), usual);
        assert_eq!(fs::read_dir(&usual).unwrap().count(), 0);
        // Refused to whoever runs the tests: what should be a folder is a file.
        let file = temporary.path().join("file");
        fs::write(&file, "").unwrap();
        for folder in [file.clone(), file.join("generative")] {
            let text = error_text(&results_folder(Some(&folder), usual.clone()).unwrap_err());
            assert!(text.contains("--results DIR: "), "{text}");
            assert!(text.contains(&folder.display().to_string()), "{text}");
        }
    }
}
