use std::str::FromStr;

use pgm_generation::SamplingSettings;

/// Values of settings to evaluate, in all combinations.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// In the order in which they were named.
    axes: Vec<Axis>,
}

/// The values of one setting.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    setting: Setting,
    values: Vec<f64>,
}

/// What may be swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Steps,
    Temperature,
    TopP,
    TopK,
}

/// Settings of one evaluation, and what they are called.
#[derive(Debug, Clone, PartialEq)]
pub struct SweptSettings {
    /// The settings.
    pub settings: SamplingSettings,
    /// The values of the settings that are swept, the first one left out: equal for all points of a curve.
    pub curve: Vec<String>,
    /// The values of all settings that are swept.
    pub name: Vec<String>,
}

/// Why a text is not a sweep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}; wanted settings with numbers, as in `steps=8,16,32` or `temperature=0.8,1,top-p=0.9,1`"
)]
pub struct SweepError {
    reason: String,
}

impl Sweep {
    /// The settings of each evaluation. Those of a curve, which differ in the setting that was named first, stand
    /// together.
    pub fn settings(&self, base: &SamplingSettings) -> Vec<SweptSettings> {
        let mut all = vec![SweptSettings {
            settings: base.clone(),
            curve: Vec::new(),
            name: Vec::new(),
        }];
        // The first axis runs fastest.
        for (number, axis) in self.axes.iter().enumerate().rev() {
            let with = |swept: &SweptSettings, value: f64| {
                let mut swept = swept.clone();
                axis.setting.put(&mut swept.settings, value);
                let name = format!("{} {value}", axis.setting.name());
                if number > 0 {
                    swept.curve.insert(0, name.clone());
                }
                swept.name.insert(0, name);
                swept
            };
            all = all
                .iter()
                .flat_map(|swept| axis.values.iter().map(|&value| with(swept, value)))
                .collect();
        }
        all
    }

    /// Whether the number of sampling steps is swept.
    pub fn has_steps(&self) -> bool {
        self.axes.iter().any(|axis| axis.setting == Setting::Steps)
    }
}

impl Setting {
    const ALL: [Self; 4] = [Self::Steps, Self::Temperature, Self::TopP, Self::TopK];

    /// As on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Temperature => "temperature",
            Self::TopP => "top-p",
            Self::TopK => "top-k",
        }
    }

    fn is_count(self) -> bool {
        matches!(self, Self::Steps | Self::TopK)
    }

    fn put(self, settings: &mut SamplingSettings, value: f64) {
        match self {
            Self::Steps => settings.n_steps = value as usize,
            Self::Temperature => settings.temperature = value,
            Self::TopP => settings.top_p = Some(value),
            Self::TopK => settings.top_k = Some(value as usize),
        }
    }
}

impl FromStr for Sweep {
    type Err = SweepError;

    /// Names and values, such as `temperature=0.8,0.9,top-p=0.9,1`.
    fn from_str(text: &str) -> Result<Self, SweepError> {
        let refused = |reason: String| SweepError { reason };
        let mut axes: Vec<Axis> = Vec::new();
        for part in text.split(',') {
            let value = match part.split_once('=') {
                Some((name, value)) => {
                    let name = name.trim();
                    let setting = Setting::ALL.into_iter().find(|s| s.name() == name);
                    let Some(setting) = setting else {
                        let names = Setting::ALL.map(|setting| format!("`{}`", setting.name()));
                        let names = names.join(", ");
                        return Err(refused(format!("`{name}` cannot be swept, but {names}")));
                    };
                    if axes.iter().any(|axis| axis.setting == setting) {
                        return Err(refused(format!("`{name}` stands there twice")));
                    }
                    axes.push(Axis {
                        setting,
                        values: Vec::new(),
                    });
                    value
                }
                None => part,
            };
            let Some(axis) = axes.last_mut() else {
                return Err(refused(format!("`{text}` is no sweep")));
            };
            let value = value.trim();
            let number: Option<f64> = if axis.setting.is_count() {
                value.parse::<u32>().ok().map(f64::from)
            } else {
                value.parse().ok()
            };
            let Some(number) = number else {
                let name = axis.setting.name();
                return Err(refused(format!("`{value}` is no value of `{name}`")));
            };
            axis.values.push(number);
        }
        Ok(Self { axes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let sweep: Sweep = text.parse().unwrap();
        let all = sweep.settings(&SamplingSettings::default());
        all.iter().map(|swept| swept.name.join(", ")).collect()
    }

    #[test]
    fn all_combinations_are_evaluated_a_curve_after_the_other() {
        assert_eq!(names("steps=8, 16"), ["steps 8", "steps 16"]);
        assert_eq!(
            names("temperature=0.8,1,top-p=0.9,1"),
            [
                "temperature 0.8, top-p 0.9",
                "temperature 1, top-p 0.9",
                "temperature 0.8, top-p 1",
                "temperature 1, top-p 1"
            ]
        );
        let sweep: Sweep = "temperature=0.8,1,top-p=0.9,steps=4".parse().unwrap();
        let all = sweep.settings(&SamplingSettings::default());
        assert_eq!(all[1].curve, ["top-p 0.9", "steps 4"]);
        let settings = &all[1].settings;
        assert_eq!((settings.n_steps, settings.temperature), (4, 1.0));
        assert_eq!((settings.top_p, settings.top_k), (Some(0.9), None));
        assert!(sweep.has_steps());
    }

    #[test]
    fn what_is_no_sweep_is_explained() {
        for (text, words) in [
            ("8,16", "`8,16` is no sweep; wanted settings with numbers"),
            ("steps=", "`` is no value of `steps`"),
            ("steps=4.5", "`4.5` is no value of `steps`"),
            ("top-p=x", "`x` is no value of `top-p`"),
            (
                "step=8",
                "`step` cannot be swept, but `steps`, `temperature`",
            ),
            ("steps=8,steps=4", "`steps` stands there twice"),
        ] {
            let error = text.parse::<Sweep>().unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
