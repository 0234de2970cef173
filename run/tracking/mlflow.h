#pragma once
// A run in MLflow, by its REST interface (mlflow.org/docs/latest/rest-api.html, version 2.0).

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "run/tracking/tracker.h"

namespace macadam {

struct MlflowOptions {
  std::string address;           // "http://127.0.0.1:5000"
  std::string experiment;        // is made if there is none of that name
  std::string name;              // of the run
  std::filesystem::path folder;  // of the run; which run of MLflow it is stands in its mlflow.json
  bool resumed = false;          // else an mlflow.json there is of an earlier run of that name
};

/// The names of classes as MLflow takes them in a metric's: letters, digits, '_', '-', '.' and
/// spaces of ASCII, anything else becomes '_'; no two are the same.
std::vector<std::string> mlflow_names(std::span<const Score> classes);

/// Throws InputError when an address is none, or this build cannot ask over HTTP.
void check_mlflow_address(const std::string& address);

/// Begins a run in MLflow, or goes on with that of FOLDER/mlflow.json, whose epochs the server is
/// asked for. Metrics are sent behind training's back; their step is the epoch. In the end the
/// report, the configuration and the scores follow as artifacts. A server that does not answer is a
/// notice, once, and then nothing is sent any more but that the run has ended. A token is taken
/// from the environment's MLFLOW_TRACKING_TOKEN. Throws InputError as check_mlflow_address() does.
std::unique_ptr<Tracker> make_mlflow(const MlflowOptions& options,
                                     std::span<const TrackedParameter> parameters,
                                     std::function<void(const std::string&)> notice);

}  // namespace macadam
