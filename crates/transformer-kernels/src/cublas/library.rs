use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ptr::null;
use std::sync::{Mutex, OnceLock, PoisonError};

use cubecl_cuda::CudaRuntime;
use cubecl_runtime::runtime::Runtime;
use cubecl_runtime::server::{BufferBinding, ServerError, ServerStorage};
use cudarc::cublaslt::{result as cublas, sys as cublas_sys};
use cudarc::driver::{result as driver, sys as driver_sys};

use super::plan::{Plan, Product, alignment};

const WORKSPACE_BYTES: usize = 64 << 20;

/// Where CubeCL keeps its memory and its streams, on the device's thread.
pub(super) type Server = <CudaRuntime as Runtime>::Server;

/// What a product reads and writes; the memory stays allocated while this lives.
pub(super) struct Operands {
    pub left: BufferBinding,
    pub right: BufferBinding,
    pub output: BufferBinding,
    pub bias: Option<BufferBinding>,
}

/// Addresses on the device.
struct Addresses {
    left: u64,
    right: u64,
    output: u64,
    bias: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LibraryError {
    #[error("cuBLASLt: {0:?}")]
    Cublas(cublas::CublasError),
    #[error("CUDA driver: {0:?}")]
    Driver(driver::DriverError),
    #[error("CubeCL: {0:?}")]
    Memory(Box<ServerError>),
    #[error("addresses are multiples of {found:?} bytes, planned for {planned:?}")]
    Alignment { found: [u32; 3], planned: [u32; 3] },
    #[error("there is no plan")]
    NoPlan,
}

impl From<cublas::CublasError> for LibraryError {
    fn from(error: cublas::CublasError) -> Self {
        Self::Cublas(error)
    }
}

impl From<driver::DriverError> for LibraryError {
    fn from(error: driver::DriverError) -> Self {
        Self::Driver(error)
    }
}

/// Whether the machine has the library; if not, says so once.
pub(super) fn is_present() -> bool {
    static IS_PRESENT: OnceLock<bool> = OnceLock::new();
    *IS_PRESENT.get_or_init(|| {
        // SAFETY: loads a library of NVIDIA's that has no side effects.
        let is_present = unsafe { cublas_sys::is_culib_present() };
        if !is_present {
            tracing::warn!(
                "libcublasLt was not found; matrix products take Burn's kernels, which are tuned for minutes and slower. It is part of the CUDA toolkit: put its folder on LD_LIBRARY_PATH"
            );
        }
        is_present
    })
}

/// What products on a device share.
struct Library {
    context: driver_sys::CUcontext,
    handle: cublas_sys::cublasLtHandle_t,
    stream: driver_sys::CUstream,
    /// All that was enqueued before a product.
    before: driver_sys::CUevent,
    /// The product.
    after: driver_sys::CUevent,
    workspace: driver_sys::CUdeviceptr,
    /// None if the library has no kernel for the product.
    plans: HashMap<Product, Option<Plan>>,
}

// SAFETY: the handles may be used from any thread, one at a time; a mutex is around each library.
unsafe impl Send for Library {}

impl Library {
    fn new(device_index: usize) -> Result<Self, LibraryError> {
        driver::init()?;
        let device = driver::device::get(device_index as i32)?;
        // SAFETY: the device was just returned; the context is never released.
        let context = unsafe { driver::primary_ctx::retain(device)? };
        // SAFETY: the context lives.
        unsafe { driver::ctx::set_current(context)? };
        let event = || driver::event::create(driver_sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
        Ok(Self {
            context,
            handle: cublas::create_handle()?,
            stream: driver::stream::create(driver::stream::StreamKind::NonBlocking)?,
            before: event()?,
            after: event()?,
            // SAFETY: a context is current.
            workspace: unsafe { driver::malloc_sync(WORKSPACE_BYTES)? },
            plans: HashMap::new(),
        })
    }

    /// The plan for a product, made at its first use; None if the library has no kernel for it.
    fn plan(&mut self, product: &Product) -> Option<&mut Plan> {
        let plan = match self.plans.entry(*product) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // SAFETY: the context lives. The thread may be another than the one that made the library.
                let is_current = unsafe { driver::ctx::set_current(self.context) };
                is_current.expect("the device's primary context is kept");
                let plan = Plan::new(self.handle, product, self.workspace, WORKSPACE_BYTES)
                    .inspect_err(|error| {
                        let Product { m, n, k, dtype, .. } = product;
                        tracing::warn!(
                            m,
                            n,
                            k,
                            ?dtype,
                            ?error,
                            "cuBLASLt has no kernel for a product; Burn's own is used"
                        );
                    });
                entry.insert(plan.ok())
            }
        };
        plan.as_mut()
    }

    /// The caller holds the memory until this returns.
    fn enqueue(&mut self, product: &Product, operands: &Addresses) -> Result<(), LibraryError> {
        let (context, handle, stream) = (self.context, self.handle, self.stream);
        let (before, after, workspace) = (self.before, self.after, self.workspace);
        let plan = self.plan(product).ok_or(LibraryError::NoPlan)?;
        if let Some(bias) = operands.bias {
            plan.set_bias(bias)?;
        }
        let (one, zero) = (1.0f32, 0.0f32);
        // SAFETY: context, stream, events and plan live as long as `self`; what reuses the memory later waits for
        // `after`.
        unsafe {
            driver_sys::cuCtxRecordEvent(context, before).result()?;
            driver::stream::wait_event(
                stream,
                before,
                driver_sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT,
            )?;
            cublas::matmul(
                handle,
                plan.description,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                operands.right as *const _,
                plan.first,
                operands.left as *const _,
                plan.second,
                null(),
                plan.output,
                operands.output as *mut _,
                plan.output,
                &raw const plan.algorithm,
                workspace as *mut _,
                WORKSPACE_BYTES,
                stream.cast(),
            )?;
            driver::event::record(after, stream)?;
            driver_sys::cuCtxWaitEvent(context, after).result()?;
        }
        Ok(())
    }
}

/// Calls `task` with the library of a device, which is loaded at its first use.
fn with_library<R>(
    device_index: usize,
    task: impl FnOnce(&mut Library) -> R,
) -> Result<R, LibraryError> {
    static LIBRARIES: OnceLock<Mutex<HashMap<usize, Library>>> = OnceLock::new();
    let libraries = LIBRARIES.get_or_init(Mutex::default);
    let mut libraries = libraries.lock().unwrap_or_else(PoisonError::into_inner);
    let library = match libraries.entry(device_index) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(Library::new(device_index)?),
    };
    Ok(task(library))
}

/// Whether the library can compute a product; if not, says so once for each kind of product.
pub(super) fn has_plan(device_index: usize, product: &Product) -> bool {
    let has_plan = with_library(device_index, |library| library.plan(product).is_some());
    has_plan.unwrap_or_else(|error| {
        static IS_SAID: OnceLock<()> = OnceLock::new();
        IS_SAID.get_or_init(|| {
            tracing::warn!(%error, "cuBLASLt could not be started; Burn's own products are used");
        });
        false
    })
}

/// Enqueues a product behind all work of the device; to be called on the device's thread.
///
/// Nobody waits for the outcome: after a failure the next product panics with the reason.
pub(super) fn enqueue(
    server: &mut Server,
    device_index: usize,
    product: Product,
    operands: Operands,
) {
    if let Err(error) = try_enqueue(server, device_index, &product, operands) {
        tracing::error!(?product, %error, "a matrix product could not be enqueued");
        FAILURE.get_or_init(|| error.to_string());
    }
}

fn try_enqueue(
    server: &mut Server,
    device_index: usize,
    product: &Product,
    operands: Operands,
) -> Result<(), LibraryError> {
    let stream = operands.output.stream;
    let mut resource = |binding| {
        let resource = server.get_resource(binding, stream);
        resource.map_err(|error| LibraryError::Memory(Box::new(error)))
    };
    // Held until the product is enqueued.
    let left = resource(operands.left)?;
    let right = resource(operands.right)?;
    let output = resource(operands.output)?;
    let bias = operands.bias.map(resource).transpose()?;
    let addresses = Addresses {
        left: left.resource().ptr,
        right: right.resource().ptr,
        output: output.resource().ptr,
        bias: bias.as_ref().map(|bias| bias.resource().ptr),
    };
    let found = [addresses.left, addresses.right, addresses.output].map(alignment);
    let planned = product.alignments;
    if found
        .iter()
        .zip(planned)
        .any(|(found, planned)| *found < planned)
    {
        return Err(LibraryError::Alignment { found, planned });
    }
    with_library(device_index, |library| library.enqueue(product, &addresses))?
}

static FAILURE: OnceLock<String> = OnceLock::new();

/// # Panics
/// Panics if a product could not be enqueued: what it should have written is not there.
pub(super) fn panic_after_failure() {
    if let Some(reason) = FAILURE.get() {
        panic!("an earlier matrix product could not be enqueued: {reason}");
    }
}
