#include "server/service/model_registry.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>

#include "base/error.h"
#include "base/freed_memory.h"
#include "base/text.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::milliseconds kLookEvery{500};
constexpr size_t kLongestName = 100;
constexpr int kLoadingNiceness = 10;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kLongestName && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

/// 0: not a version.
int version_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && number >= 1 && text.front() != '0' ? number : 0;
}

/// What a file is called where nobody named it: characters that names do not have become '_'.
std::string name_of(const fs::path& path) {
  std::string name = path.stem().string().substr(0, kLongestName);
  for (char& c : name) {
    if (!is_name({&c, 1})) c = '_';
  }
  return name;
}

}  // namespace

ModelSpec parse_model_spec(std::string_view text) {
  ModelSpec spec{.name = "", .version = "1", .file = fs::path(text)};
  const size_t equals = text.find('=');
  // A path may hold a '=' too; a name holds no slash.
  if (equals != std::string_view::npos && text.substr(0, equals).find('/') == std::string::npos) {
    const std::string_view label = text.substr(0, equals);
    const size_t colon = label.find(':');
    spec.name = label.substr(0, colon);
    if (colon != std::string_view::npos) spec.version = label.substr(colon + 1);
    spec.file = fs::path(text.substr(equals + 1));
    if (!is_name(spec.name)) {
      throw InputError("a model's name has 1 to 100 letters, digits, '.', '_' or '-'",
                       quote(spec.name), "give it another: NAME=FILE");
    }
    if (version_number(spec.version) == 0) {
      throw InputError("a model's version is a number from 1 on", quote(spec.version),
                       "give it another: NAME:VERSION=FILE");
    }
  }
  fs::path named = spec.file;
  std::error_code ignored;
  if (fs::is_directory(spec.file, ignored)) {
    named = fs::absolute(spec.file, ignored).lexically_normal();
    if (!named.has_filename()) named = named.parent_path();
    named += ".run";  // a folder's name has no extension to lose
    spec.file /= "best.safetensors";
  }
  if (!fs::is_regular_file(spec.file, ignored)) {
    throw InputError("there is no model file", spec.file.string(),
                     "give a *.safetensors file, or the folder of a run");
  }
  if (spec.name.empty()) spec.name = name_of(named);
  return spec;
}

ModelRegistry::ModelRegistry(std::vector<ModelSpec> specs, const ServedModelOptions& options,
                             Tell tell)
    : options_(options), tell_(std::move(tell)) {
  require(!specs.empty(), "a registry has models");
  std::set<std::pair<std::string, std::string>> known;
  for (ModelSpec& spec : specs) {
    if (!known.emplace(spec.name, spec.version).second) {
      throw InputError("two models have one name and version",
                       fmt::format("{}:{}", spec.name, spec.version),
                       "name them: NAME:VERSION=FILE");
    }
    entries_.push_back({std::move(spec), nullptr, {}});
  }
}

ModelRegistry::~ModelRegistry() { stop(); }

std::optional<ModelRegistry::Signature> ModelRegistry::signature_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return Signature{static_cast<int64_t>(status.st_ino), static_cast<int64_t>(status.st_size),
                   int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

void ModelRegistry::load() {
  for (Entry& entry : entries_) {
    if (stopping_) return;
    // Before the file is read: what is written meanwhile counts as a change.
    entry.seen = signature_of(entry.spec.file).value_or(Signature{});
    auto model = std::make_shared<ServedModel>(entry.spec.name, entry.spec.version, entry.spec.file,
                                               options_);
    tell_("model loaded", entry.spec, model->digest());
    const std::lock_guard lock(mutex_);
    entry.model = std::move(model);
  }
  ready_ = true;
}

bool ModelRegistry::look(Entry& entry) {
  const auto now = signature_of(entry.spec.file);
  if (!now || *now == entry.seen) return false;  // one that is gone is served on
  entry.seen = *now;
  try {
    auto model = std::make_shared<ServedModel>(entry.spec.name, entry.spec.version, entry.spec.file,
                                               options_);
    tell_("model replaced", entry.spec, model->digest());
    // The old one goes with the last request that uses it, or here, without the lock.
    const std::lock_guard lock(mutex_);
    model.swap(entry.model);
    return true;
  } catch (const std::exception& error) {
    tell_("model kept: its new file cannot be used", entry.spec, error.what());
    return false;
  }
}

void ModelRegistry::watch() {
  watcher_ = std::jthread([this] {
    // Of this thread and those that it starts: what is served goes before what is loaded.
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLoadingNiceness);
    std::mutex mine;
    std::unique_lock lock(mine);
    for (bool replaced = false; !stopping_;) {
      stopped_.wait_for(lock, kLookEvery, [this] { return stopping_.load(); });
      // What the old model had, which its last request has left by now, goes back to the system.
      if (replaced) give_back_freed_memory();
      replaced = false;
      for (Entry& entry : entries_) {
        if (!stopping_) replaced |= look(entry);
      }
    }
  });
}

void ModelRegistry::stop() {
  stopping_ = true;
  stopped_.notify_all();
}

std::shared_ptr<ServedModel> ModelRegistry::find(std::string_view name,
                                                 std::string_view version) const {
  for (const auto& model : versions(name)) {
    if (version.empty() || model->version() == version) return model;
  }
  return nullptr;
}

std::shared_ptr<ServedModel> ModelRegistry::first() const {
  const std::lock_guard lock(mutex_);
  return entries_.front().model;
}

std::vector<std::shared_ptr<ServedModel>> ModelRegistry::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<ServedModel>> models;
  for (const Entry& entry : entries_) {
    if (entry.model) models.push_back(entry.model);
  }
  return models;
}

std::vector<std::shared_ptr<ServedModel>> ModelRegistry::versions(std::string_view name) const {
  auto models = all();
  std::erase_if(models, [&](const auto& model) { return model->name() != name; });
  std::ranges::sort(models, std::greater<>(),
                    [](const auto& model) { return version_number(model->version()); });
  return models;
}

}  // namespace macadam
