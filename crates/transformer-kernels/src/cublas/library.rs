use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ptr::null;
use std::sync::{Mutex, OnceLock, PoisonError};

use cudarc::cublaslt::{result as cublas, sys as cublas_sys};
use cudarc::driver::{result as driver, sys as driver_sys};

use super::plan::{Plan, Product};

const WORKSPACE_BYTES: usize = 64 << 20;

/// Addresses on the device.
pub(super) struct Operands {
    pub left: u64,
    pub right: u64,
    pub output: u64,
    pub bias: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LibraryError {
    #[error("cuBLASLt: {0:?}")]
    Cublas(cublas::CublasError),
    #[error("CUDA driver: {0:?}")]
    Driver(driver::DriverError),
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
    plans: HashMap<Product, Plan>,
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

    fn enqueue(&mut self, product: Product, operands: &Operands) -> Result<(), LibraryError> {
        let plan = match self.plans.entry(product) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Plan::new(
                self.handle,
                &product,
                operands.bias,
                WORKSPACE_BYTES,
            )?),
        };
        if let Some(bias) = operands.bias {
            plan.set_bias(bias)?;
        }
        let (one, zero) = (1.0f32, 0.0f32);
        // SAFETY: context, stream, events and plan live as long as `self`; the caller holds the
        // memory until this returns, and what reuses it later waits for `after`.
        unsafe {
            driver_sys::cuCtxRecordEvent(self.context, self.before).result()?;
            driver::stream::wait_event(
                self.stream,
                self.before,
                driver_sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT,
            )?;
            cublas::matmul(
                self.handle,
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
                self.workspace as *mut _,
                WORKSPACE_BYTES,
                self.stream.cast(),
            )?;
            driver::event::record(self.after, self.stream)?;
            driver_sys::cuCtxWaitEvent(self.context, self.after).result()?;
        }
        Ok(())
    }
}

/// Enqueues a product behind all work of the device; to be called on the device's thread.
pub(super) fn enqueue(
    device_index: usize,
    product: Product,
    operands: Operands,
) -> Result<(), LibraryError> {
    static LIBRARIES: OnceLock<Mutex<HashMap<usize, Library>>> = OnceLock::new();
    let libraries = LIBRARIES.get_or_init(Mutex::default);
    let mut libraries = libraries.lock().unwrap_or_else(PoisonError::into_inner);
    let library = match libraries.entry(device_index) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(Library::new(device_index)?),
    };
    library.enqueue(product, &operands)
}
