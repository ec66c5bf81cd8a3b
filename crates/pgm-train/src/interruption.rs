use std::ops::ControlFlow;

use burn_train::Interrupter;

/// Whether work goes on, for the callbacks that say so.
pub fn control_flow(interrupter: &Interrupter) -> ControlFlow<()> {
    if interrupter.should_stop() {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}
