use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::feature_text::FeatureText;
use super::plots::{PlotCurve, PlotPoint, draw_plots};
use super::report::GenerativeReport;
use crate::{EvalError, Mauve, MauveConfig};

/// Texts from one source, judged.
#[derive(Debug, Clone)]
pub struct GenerativeEvaluation {
    /// The first column of the table.
    pub name: String,
    /// Which curve of a picture it belongs to.
    pub curve: String,
    /// Sampling steps.
    pub n_steps: usize,
    /// How the texts were drawn, in words; nothing for those of a file.
    pub drawing: Option<String>,
    /// What the judge said.
    pub report: GenerativeReport,
    /// All that decides the samples and their scores.
    pub settings: Value,
    /// Where the samples are.
    pub results: PathBuf,
    /// The judge's features of the texts, if they were asked for.
    pub features: Vec<Vec<f32>>,
}

/// Evaluations side by side, and what they have in common.
#[derive(Debug, Clone)]
pub struct GenerativeComparison {
    /// Name of the judge.
    pub judge: String,
    /// Of models or files, in the order of the table: one or more.
    pub evaluations: Vec<GenerativeEvaluation>,
    /// Of the text that MAUVE compares with.
    pub references: Option<GenerativeEvaluation>,
    /// The form of the texts that MAUVE compares, if it does.
    pub features: Option<FeatureText>,
    /// Judge's tokens read of each text.
    pub max_length: usize,
    /// Of draws and bootstrap.
    pub seed: u64,
    /// Which program computed it, and on what, in words.
    pub program: String,
}

/// How the perplexity is computed.
const METHOD: &str = "\
Generative perplexity is `exp(sum of nats / number of tokens)` over all texts together: each text, BOS and EOS spelled out, is \
tokenised anew for the judge and cut; all tokens behind the first count, EOS once. Entropy is that of the token frequencies \
within a text (the model's own tokens), in nats, the mean over texts: text that repeats itself is likely, so that neither number \
says much without the other. ± is the standard error over texts, by the bootstrap; of MAUVE, the deviation over clusterings.";

impl GenerativeComparison {
    /// Computes the MAUVE of each evaluation against the references, if there are any.
    ///
    /// # Errors
    /// When there are too few texts to compare.
    pub fn compare_with_references(&mut self, config: &MauveConfig) -> Result<(), EvalError> {
        let Some(references) = &self.references else {
            return Ok(());
        };
        for evaluation in &mut self.evaluations {
            let mauve = config.compare(&evaluation.features, &references.features)?;
            evaluation.report.mauve = Some(mauve);
        }
        Ok(())
    }

    /// The table, and below it what one has to know to read it.
    pub fn text(&self) -> String {
        let notes: Vec<String> = self.notes().map(|note| format!("- {note}\n")).collect();
        format!("{}\n{}", self.table(), notes.concat())
    }

    /// A page with the table, the pictures and all settings. Pictures are named from the folder of `path`.
    pub fn markdown(&self, path: &Path, pictures: &[PathBuf]) -> String {
        let folder = path.parent().unwrap_or(Path::new(""));
        let pictures = pictures.iter().map(|picture| {
            let name = picture.strip_prefix(folder).unwrap_or(picture);
            let title = picture.file_stem().unwrap_or_default().to_string_lossy();
            format!("![{title}]({})\n", name.display())
        });
        format!(
            "# Generative perplexity\n\n{}\n{METHOD}\n\n{}\n## Settings\n{}",
            self.text(),
            pictures.collect::<String>(),
            self.settings()
        )
    }

    /// The reports with their settings, as one object.
    pub fn json(&self) -> Value {
        let evaluations = self.evaluations.iter();
        let evaluations: Vec<Value> = evaluations.map(GenerativeEvaluation::json).collect();
        json!({
            "judge": self.judge,
            "seed": self.seed,
            "evaluations": evaluations,
            "held_out": self.references.as_ref().map(GenerativeEvaluation::json),
        })
    }

    /// Draws pictures into a folder, and returns their paths: see [`draw_plots`].
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn draw(&self, folder: &Path) -> Result<Vec<PathBuf>, EvalError> {
        let curves = self.evaluations.chunk_by(|a, b| a.curve == b.curve);
        let curves = curves.map(|evaluations| PlotCurve {
            name: evaluations[0].curve.clone(),
            points: evaluations
                .iter()
                .map(|evaluation| PlotPoint {
                    n_steps: evaluation.n_steps,
                    report: &evaluation.report,
                })
                .collect(),
        });
        draw_plots(&curves.collect::<Vec<_>>(), folder)
    }

    /// Those of the first evaluation, and what the others have otherwise.
    fn settings(&self) -> String {
        let first = &self.evaluations[0];
        let others = self.evaluations[1..].iter().chain(&self.references);
        let others = others.map(|other| {
            (
                other,
                "where it differs",
                changed(&first.settings, &other.settings),
            )
        });
        let settings = std::iter::once((first, "all", first.settings.clone())).chain(others);
        let settings = settings.map(|(evaluation, which, settings)| {
            let settings = serde_json::to_string_pretty(&settings);
            let settings = settings.expect("settings have a JSON form");
            format!(
                "\n{} ({which}):\n\n```json\n{settings}\n```\n",
                evaluation.name
            )
        });
        settings.collect()
    }

    fn table(&self) -> String {
        let evaluations = self.evaluations.iter().chain(&self.references);
        let rows = evaluations.map(|evaluation| (evaluation.name.clone(), &evaluation.report));
        GenerativeReport::markdown_table("texts", &rows.collect::<Vec<_>>())
    }

    /// What one has to know to read the table.
    fn notes(&self) -> impl Iterator<Item = String> {
        let first = &self.evaluations[0];
        let judge = format!(
            "Judge {} in float32, at most {} of its tokens a text; {} tokens counted in the first row.",
            self.judge, self.max_length, first.report.n_scored
        );
        let drawing = first
            .drawing
            .as_ref()
            .map(|drawing| format!("Texts drawn by {drawing}, seed {}.", self.seed));
        let own_tokens = (first.drawing.is_some() && first.report.own_tokens_perplexity.is_none())
            .then(|| {
                "Perplexity on the model's own tokens is not defined: the judge has another vocabulary."
                    .to_owned()
            });
        let mauve = |(mauve, text): (&Mauve, FeatureText)| {
            format!(
                "MAUVE of {} against {} texts: last hidden state of the judge at the last token of the text {}, {} principal components, {} clusters, {} seeds; \
                 MAUVE* with smoothed frequencies. It compares only between equal numbers of texts.",
                mauve.n_samples,
                mauve.n_references,
                text.name(),
                mauve.n_components,
                mauve.n_clusters,
                mauve.n_seeds
            )
        };
        let mauve = first.report.mauve.as_ref().zip(self.features).map(mauve);
        [
            Some(judge),
            drawing,
            own_tokens,
            mauve,
            Some(self.program.clone()),
        ]
        .into_iter()
        .flatten()
    }
}

impl GenerativeEvaluation {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "drawing": self.drawing,
            "settings": self.settings,
            "report": self.report,
            "results": self.results.display().to_string(),
        })
    }
}

/// What a second value has otherwise than a first one, key by key.
fn changed(first: &Value, second: &Value) -> Value {
    let (Value::Object(first), Value::Object(second)) = (first, second) else {
        return second.clone();
    };
    let changed = second.iter().filter_map(|(key, value)| {
        let before = first.get(key).unwrap_or(&Value::Null);
        (before != value).then(|| (key.clone(), changed(before, value)))
    });
    Value::Object(changed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_left_out() {
        let first = json!({"judge": "a", "sampling": {"n_steps": 4, "temperature": 1.0}});
        let second =
            json!({"judge": "a", "sampling": {"n_steps": 8, "temperature": 1.0}, "seed": 1});
        assert_eq!(
            changed(&first, &second),
            json!({"sampling": {"n_steps": 8}, "seed": 1})
        );
    }
}
