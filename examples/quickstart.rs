//! How do I read a file without stopping the event loop of a single-threaded program?
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    // The closure runs on a thread of sidestep's pool; a panic in it would resume at the `.await`.
    let read = sidestep::unblock(|| std::fs::read_to_string("Cargo.toml"));
    let other_work = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        println!("this thread was free meanwhile");
    };
    let (text, ()) = tokio::join!(read, other_work);
    println!("Cargo.toml has {} lines", text?.lines().count());
    Ok(())
}
