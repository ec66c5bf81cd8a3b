//! Which GPU, or stand-in for one, `wgpu` will find.

use std::fmt;

use anyhow::Result;

/// A device that `wgpu` can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// What its driver calls it.
    pub name: String,
    /// The kind of device and the API it is reached through.
    pub kind: String,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, self.kind)
    }
}

/// How to get an adapter where there is none.
pub const HOW_TO_GET_ONE: &str = "install the driver of the GPU, or a Vulkan driver for the CPU \
     (Debian, Ubuntu: `apt-get install mesa-vulkan-drivers`)";

/// The adapters of this machine.
///
/// # Errors
/// If there is no Vulkan loader or no driver; the text says which.
#[cfg(all(unix, not(target_os = "macos")))]
pub fn find() -> Result<Vec<Adapter>> {
    use anyhow::Context;
    use ash::{Entry, vk};

    // SAFETY: the system's Vulkan loader is trusted as by every Vulkan program, and nothing that is
    // loaded here outlives `entry`.
    let entry = unsafe { Entry::load() }.context("there is no Vulkan loader")?;
    // SAFETY: a create info without pointers is valid.
    let instance = unsafe { entry.create_instance(&vk::InstanceCreateInfo::default(), None) }
        .context("there is no Vulkan driver")?;
    // SAFETY: the instance is alive until `destroy_instance` below, its devices belong to it.
    let adapters = unsafe { instance.enumerate_physical_devices() }.map(|devices| {
        devices
            .into_iter()
            .map(|device| {
                // SAFETY: as above.
                let properties = unsafe { instance.get_physical_device_properties(device) };
                let name = properties.device_name_as_c_str().unwrap_or(c"unnamed");
                Adapter {
                    name: name.to_string_lossy().into_owned(),
                    kind: format!("{} through Vulkan", kind_name(properties.device_type)),
                }
            })
            .collect()
    });
    // SAFETY: nothing of the instance is in use any more.
    unsafe { instance.destroy_instance(None) };
    adapters.context("the Vulkan driver does not list its devices")
}

#[cfg(all(unix, not(target_os = "macos")))]
fn kind_name(kind: ash::vk::PhysicalDeviceType) -> &'static str {
    use ash::vk::PhysicalDeviceType;
    match kind {
        PhysicalDeviceType::DISCRETE_GPU => "discrete GPU",
        PhysicalDeviceType::INTEGRATED_GPU => "integrated GPU",
        PhysicalDeviceType::VIRTUAL_GPU => "virtual GPU",
        PhysicalDeviceType::CPU => "CPU",
        _ => "device",
    }
}

/// The adapters of this machine: every Mac that runs a current Rust has Metal.
#[cfg(target_os = "macos")]
pub fn find() -> Result<Vec<Adapter>> {
    Ok(vec![assumed("Metal")])
}

/// The adapters of this machine: Windows brings DirectX 12, on the CPU at the least.
#[cfg(windows)]
pub fn find() -> Result<Vec<Adapter>> {
    Ok(vec![assumed("DirectX 12")])
}

#[cfg(any(target_os = "macos", windows))]
fn assumed(api: &str) -> Adapter {
    Adapter {
        name: "the system's default".to_owned(),
        kind: format!("{api} (assumed)"),
    }
}
