/// How the tensors of another library's files are called and laid out.
#[derive(Debug, Clone, Copy)]
pub struct ForeignNames {
    /// In front of the names of the network's body, in files of networks with an output layer.
    pub prefix: &'static str,
    /// Name here, name there. What starts with a dot stands inside a name, the rest at its start.
    pub renamed: &'static [(&'static str, &'static str)],
    /// Ends of the names of tensors that are no parameters.
    pub ignored_endings: &'static [&'static str],
    /// Whether linear weights are `[out, in]`.
    pub is_linear_transposed: bool,
}

impl ForeignNames {
    /// The name in a file, without the prefix, of a parameter here.
    pub fn name_of(&self, own: &str) -> String {
        let mut name = own.to_owned();
        for (here, there) in self.renamed {
            if here.starts_with('.') {
                name = name.replace(here, there);
            } else if let Some(rest) = name.strip_prefix(here) {
                name = format!("{there}{rest}");
            }
        }
        // Norms, which have names of their own in Burn.
        for (here, there) in [(".gamma", ".weight"), (".beta", ".bias")] {
            if let Some(start) = name.strip_suffix(here) {
                name = format!("{start}{there}");
            }
        }
        name
    }

    /// The name of a tensor of a file without the prefix; `None` for what is no parameter.
    pub fn parameter<'a>(&self, name: &'a str) -> Option<&'a str> {
        let is_ignored = self.ignored_endings.iter().any(|end| name.ends_with(end));
        let bare = name.strip_prefix(self.prefix).unwrap_or(name);
        (!is_ignored).then_some(bare)
    }
}
