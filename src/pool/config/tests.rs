//! Which numbers of threads and other settings are refused.

use super::*;
use crate::PoolBuilder;

fn threads(core: Option<usize>, max: Option<usize>) -> Result<(usize, usize), String> {
    check_threads(["core_threads", "max_threads"], core, max).map_err(|error| error.to_string())
}

#[test]
fn one_limit_bends_the_default_of_the_other() {
    let cpus = num_cpus::get().max(2);
    assert_eq!(threads(None, None), Ok((cpus, 512.max(cpus))));
    assert_eq!(threads(None, Some(1)), Ok((1, 1)));
    assert_eq!(threads(Some(600), None), Ok((600, 600)));
    assert_eq!(threads(Some(3), Some(3)), Ok((3, 3)));
}

#[test]
fn impossible_values_are_refused_by_name_and_value() {
    assert!(threads(Some(0), None).unwrap_err().contains("core_threads (0)"));
    assert!(threads(None, Some(0)).unwrap_err().contains("max_threads (0)"));
    assert!(threads(None, Some(32_768)).unwrap_err().contains("max_threads (32768)"));
    let most = usize::MAX;
    assert!(threads(Some(most), None).unwrap_err().contains(&format!("core_threads ({most})")));
    let message = |builder: PoolBuilder| builder.check().err().unwrap().to_string();
    assert!(message(PoolBuilder::new().stack_size(0)).contains("stack_size (0)"));
    assert!(message(PoolBuilder::new().stack_size(most)).contains(&format!("stack_size ({most})")));
    assert!(message(PoolBuilder::new().queue_limit(0)).contains("queue_limit (0)"));
    let never = Config { export_every: Some(Duration::ZERO), ..Config::standard() };
    assert!(never.check().unwrap_err().to_string().contains("export_metrics (0ns)"));
    assert!(message(PoolBuilder::new().name("a\0b")).contains("name (\"a\\0b\")"));
}
