// The three steps of MODELS.md in short: each of its examples is a program of its own and includes them.
fn read(_: &Path) -> io::Result<Vec<Vec<u8>>> {
    Ok(vec![vec![1]])
}
fn digest(files: Vec<Vec<u8>>) -> Vec<u64> {
    vec![files.len() as u64]
}
fn write(sums: Vec<u64>) -> io::Result<usize> {
    Ok(sums.len())
}
