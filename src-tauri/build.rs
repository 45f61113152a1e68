//! Generates Tauri's tables. Naming the commands here makes each of them refused unless a capability grants it.

fn main() {
    let commands = tauri_build::AppManifest::new().commands(&["list_flows"]);
    let attributes = tauri_build::Attributes::new().app_manifest(commands);
    tauri_build::try_build(attributes).expect("`tauri.conf.json` and the capabilities beside it are valid");
}
