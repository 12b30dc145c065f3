//! Link flags that Node-API addons need.
fn main() {
    napi_build::setup();
}
