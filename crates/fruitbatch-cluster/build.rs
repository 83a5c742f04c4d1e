//! Makes client and server of the fleet's own service. Its messages are in `src/fleet_protocol.rs`.

fn main() {
    let messages = "crate::fleet_protocol";
    let method = |name: &str, route: &str, input: &str, output: &str| {
        tonic_build::manual::Method::builder()
            .name(name)
            .route_name(route)
            .input_type(format!("{messages}::{input}"))
            .output_type(format!("{messages}::{output}"))
            .codec_path("tonic_prost::ProstCodec")
            .build()
    };
    let fleet = tonic_build::manual::Service::builder()
        .name("Fleet")
        .package("fruitbatch")
        .comment("What fruitbatch's scheduler is asked and told beside Ballista's own services.")
        .method(method("report", "Report", "ExecutorReport", "ReportAnswer"))
        .method(method("watch", "Watch", "WatchRequest", "FleetView"))
        .build();
    tonic_build::manual::Builder::new().compile(&[fleet]);
    println!("cargo::rerun-if-changed=build.rs");
}
