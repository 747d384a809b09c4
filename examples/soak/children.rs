//! Child processes, run to their ends or given up.

use std::process::Command;

use futures_lite::future::poll_once;
use sidestep::process;

use crate::{
    dice::Dice,
    ledger::{equal, fault},
};

/// One child.
pub(crate) async fn visit(dice: &mut Dice) {
    let mut command = Command::new("echo");
    command.arg("here");
    let mut output = Box::pin(process::output(command));
    if dice.one_in(4) {
        drop(poll_once(&mut output).await);
        return;
    }
    match output.await {
        Ok(output) => {
            equal("the status of a child", output.status.code(), Some(0));
            equal("what a child has written", &*output.stdout, b"here\n");
        }
        Err(error) => fault(format_args!("a child: {error}")),
    }
}
