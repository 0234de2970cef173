#pragma once
// The models that are served, by name and version. A file that is replaced is loaded anew: the old
// model serves until the new one is warm.

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/service/served_model.h"

namespace macadam {

/// One model as the command line names it.
struct ModelSpec {
  std::string name, version;
  std::filesystem::path file;
};

/// Reads "[NAME[:VERSION]=]PATH": a model file, or a run's folder, whose best.safetensors is meant.
/// Without NAME it is the file's or the folder's name; VERSION is 1 unless it is given. Throws
/// InputError when there is no such file, or a name has other characters than letters, digits, '.',
/// '_' and '-', or a version is not a number from 1 on.
ModelSpec parse_model_spec(std::string_view text);

class ModelRegistry {
 public:
  /// What is told of models: an event ("model loaded", "model kept"), the model and what was wrong.
  using Tell =
      std::function<void(std::string_view event, const ModelSpec& spec, std::string_view detail)>;

  /// Throws InputError when two specs have one name and version.
  ModelRegistry(std::vector<ModelSpec> specs, const ServedModelOptions& options, Tell tell);
  ~ModelRegistry();
  ModelRegistry(const ModelRegistry&) = delete;
  ModelRegistry& operator=(const ModelRegistry&) = delete;

  /// Loads all models, one after the other; ends early after stop(). Throws InputError as
  /// ServedModel does.
  void load();
  /// Watches the files from now on, on a thread of its own.
  void watch();
  /// Ends load() and the watching.
  void stop();

  /// Whether all models are there, and none is about to leave.
  bool ready() const { return ready_ && !stopping_; }
  /// A version of a model, or where it is empty the latest. Null when there is none, or not yet.
  std::shared_ptr<ServedModel> find(std::string_view name, std::string_view version = {}) const;
  /// The model that is meant where none is named: the first of the command line.
  std::shared_ptr<ServedModel> first() const;
  /// All that are there, in the order of the command line.
  std::vector<std::shared_ptr<ServedModel>> all() const;
  /// Of one name, the latest first.
  std::vector<std::shared_ptr<ServedModel>> versions(std::string_view name) const;

 private:
  /// What changes when a file is replaced.
  struct Signature {
    int64_t inode = 0, size = 0, modified = 0;
    bool operator==(const Signature&) const = default;
  };
  struct Entry {
    ModelSpec spec;
    std::shared_ptr<ServedModel> model;
    Signature seen;
  };

  static std::optional<Signature> signature_of(const std::filesystem::path& file);
  /// Whether the file was replaced, and so the model.
  bool look(Entry& entry);

  const ServedModelOptions options_;
  const Tell tell_;
  mutable std::mutex mutex_;  // of Entry::model
  std::condition_variable stopped_;
  std::vector<Entry> entries_;
  std::atomic<bool> ready_ = false, stopping_ = false;
  std::jthread watcher_;
};

}  // namespace macadam
