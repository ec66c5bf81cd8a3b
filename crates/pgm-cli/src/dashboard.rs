//! Training on a terminal: Burn's dashboard with curves, progress and the newest sample.

use std::sync::Arc;

use burn_train::Interrupter;
use burn_train::logger::TrainingProgressLogger;
use burn_train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};
use pgm_train::{NATS_PER_TOKEN, TrainingEvent, TrainingObserver};

use crate::progress::TrainingProgress;
use crate::{format, log_output};

const GRAD_NORM: &str = "Gradient norm";
const LEARNING_RATE: &str = "Learning rate";
const SPEED: &str = "Tokens per second";
const SAMPLE: &str = "Newest sample";
/// Letters of a sample that are shown.
const SAMPLE_LETTERS: usize = 300;

/// Shows a training run on the whole screen, from the first step to the end.
pub struct Dashboard {
    interrupter: Interrupter,
    /// For what comes before the first step.
    lines: TrainingProgress,
    screen: Option<Screen>,
    n_steps: usize,
    loss_unit: &'static str,
}

impl Dashboard {
    /// The key `q` and Ctrl-C stop the run through `interrupter`; `loss_unit` is that of the training loss.
    pub fn new(interrupter: Interrupter, n_steps: usize, loss_unit: &'static str) -> Self {
        Self {
            interrupter,
            lines: TrainingProgress::default(),
            screen: None,
            n_steps,
            loss_unit,
        }
    }
}

impl TrainingObserver for Dashboard {
    fn on_event(&mut self, event: TrainingEvent) {
        let Some(screen) = &mut self.screen else {
            let is_ready = matches!(event, TrainingEvent::Ready { .. });
            self.lines.on_event(event);
            if is_ready {
                let screen = Screen::open(self.interrupter.clone(), self.n_steps, self.loss_unit);
                self.screen = Some(screen);
            }
            return;
        };
        // Without this the screen would swallow Ctrl-C.
        #[cfg(unix)]
        deliver_ctrl_c();
        screen.show(event);
    }
}

/// Burn's renderer; the screen is given back when it is dropped.
struct Screen {
    renderer: TuiMetricsRendererWrapper,
    n_steps: usize,
    is_validating: bool,
    /// Names of the curves of training and validation loss: one curve where both have one unit.
    training_loss: String,
    validation_loss: String,
}

impl Screen {
    fn open(interrupter: Interrupter, n_steps: usize, loss_unit: &str) -> Self {
        let training_loss = format!("Loss ({loss_unit})");
        let validation_loss = format!("Loss ({NATS_PER_TOKEN})");
        log_output::hold();
        let mut renderer = TuiMetricsRendererWrapper::new(interrupter, None);
        let other = (validation_loss != training_loss).then_some((&*validation_loss, Some("nats")));
        let train_unit = (loss_unit == NATS_PER_TOKEN).then_some("nats");
        for (name, unit) in [(&*training_loss, train_unit)]
            .into_iter()
            .chain(other)
            .chain([
                (GRAD_NORM, None),
                (LEARNING_RATE, None),
                (SPEED, Some("tokens/s")),
            ])
        {
            renderer.register_metric(definition(
                name,
                MetricAttributes::Numeric(NumericAttributes {
                    unit: unit.map(str::to_string),
                    higher_is_better: name == SPEED,
                }),
            ));
        }
        renderer.register_metric(definition(SAMPLE, MetricAttributes::None));
        renderer.start(1, 1, Some(n_steps), Some("train"));
        renderer.start_split("train", n_steps);
        Self {
            renderer,
            n_steps,
            is_validating: false,
            training_loss,
            validation_loss,
        }
    }

    fn show(&mut self, event: TrainingEvent) {
        match event {
            TrainingEvent::Step {
                step,
                loss,
                learning_rate,
                grad_norm,
                tokens_per_second,
                ..
            } => {
                for (name, value) in [
                    (&*self.training_loss, loss),
                    (GRAD_NORM, grad_norm),
                    (LEARNING_RATE, learning_rate),
                    (SPEED, tokens_per_second),
                ] {
                    self.renderer.update_train(numeric(name, value));
                }
                self.renderer.update_split(step);
            }
            TrainingEvent::Resumed { step } => self.renderer.update_split(step),
            TrainingEvent::Validating { done, total } => {
                if !self.is_validating {
                    self.is_validating = true;
                    self.renderer.start_split("valid", total);
                }
                self.renderer.update_split(done);
            }
            TrainingEvent::Validated { step, report } => {
                self.renderer
                    .update_valid(numeric(&self.validation_loss, report.nll));
                self.is_validating = false;
                self.renderer.end_split();
                self.renderer.start_split("train", self.n_steps);
                self.renderer.update_split(step);
                log_output::line(&format!(
                    "{:>10} step {}: perplexity {}",
                    "validation",
                    format::count(step),
                    format::perplexity(report)
                ));
            }
            TrainingEvent::Sampled { texts, .. } => {
                if let Some(text) = texts.first() {
                    let text = format::one_line(text, SAMPLE_LETTERS);
                    let entry = SerializedEntry::new(text.clone(), text);
                    let entry = MetricEntry::new(id(SAMPLE), entry);
                    self.renderer.update_train(MetricState::Generic(entry));
                }
            }
            _ => {}
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.screen = None;
        log_output::release();
    }
}

fn id(name: &str) -> MetricId {
    MetricId::new(Arc::new(name.to_string()))
}

fn definition(name: &str, attributes: MetricAttributes) -> MetricDefinition {
    MetricDefinition {
        metric_id: id(name),
        name: Arc::new(name.to_string()),
        description: None,
        attributes,
    }
}

fn numeric(name: &str, value: f64) -> MetricState {
    let formatted = match value.abs() {
        large if large >= 1e3 => format::short(value),
        small if small < 1e-2 => format!("{value:.2e}"),
        _ => format!("{value:.3}"),
    };
    let entry = MetricEntry::new(id(name), SerializedEntry::new(formatted, value.to_string()));
    MetricState::Numeric(entry, Some(NumericEntry::Value(value)))
}

/// The screen's raw mode hands Ctrl-C over as a key that nobody reads; makes it a signal again.
#[cfg(unix)]
fn deliver_ctrl_c() {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

    let input = std::io::stdin();
    if let Ok(mut settings) = tcgetattr(&input)
        && !settings.local_flags.contains(LocalFlags::ISIG)
    {
        settings.local_flags |= LocalFlags::ISIG;
        let _ = tcsetattr(&input, SetArg::TCSANOW, &settings);
    }
}
