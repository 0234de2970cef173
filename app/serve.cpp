// macadam serve: the inference server.

#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <mutex>

#include "app/command_line.h"
#include "app/commands.h"
#include "app/console.h"
#include "app/streams.h"
#include "base/error.h"
#include "base/field_reader.h"
#include "base/toml.h"
#include "server/inference_server.h"

namespace macadam {

namespace {

struct ServeOptions {
  std::vector<std::string> models;
  std::string file;
  bool keys = false;
  /// By key, what the command line says.
  std::map<std::string, std::optional<std::string>> values;
};

/// Lines of the log, to a file or to standard error. What cannot be written is lost: the server
/// goes on.
class Log {
 public:
  explicit Log(const std::string& file) {
    if (file.empty()) return;
    descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (descriptor_ < 0) {
      throw InputError("the log cannot be written", file, "choose another --log");
    }
  }
  ~Log() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void write(std::string_view line) {
    if (descriptor_ < 0) return say(line);
    const std::string whole = std::string(line) + "\n";
    const std::lock_guard lock(mutex_);
    write_text(descriptor_, whole);
  }

 private:
  int descriptor_ = -1;
  std::mutex mutex_;
};

/// "max_batch" as "--max-batch".
std::string option_of(std::string_view key) {
  std::string option = "--" + std::string(key);
  for (char& c : option) {
    if (c == '_') c = '-';
  }
  return option;
}

void serve(const ServeOptions& options) {
  if (options.keys) return print("{}", Lines{serve_keys_markdown()});
  std::vector<std::string> overrides;
  for (const auto& [key, value] : options.values) {
    if (value) overrides.push_back(key + "=" + *value);
  }
  ServeConfig config = load_serve_config(options.file, overrides);
  if (!options.models.empty()) config.models = options.models;
  Log log(config.log);
  catch_interrupts();
  InferenceServer server(config, [&log](std::string_view line) { log.write(line); });
  say("macadam serves at " + server.address());
  server.run(interrupted, [] { say("ready: end with Ctrl-C"); });
}

}  // namespace

void add_serve(CommandLine& line) {
  Command command = line.add("serve", "Serve models: photos in, masks out, over HTTP");
  auto options = std::make_shared<ServeOptions>();
  command.option("models", &options->models,
                 "Model files or folders of runs, [NAME[:VERSION]=]PATH; the first answers where "
                 "none is named");
  command.option("--config", &options->file, "A TOML file of the options below");
  command.flag("--keys", options->keys, "Print the options as keys of the file, in Markdown");
  ServeConfig defaults;
  FieldList fields;
  describe(fields, defaults);
  for (const DescribedField& field : fields.fields()) {
    const std::string key(field.field.key);
    if (key == "models") continue;
    std::string names = option_of(key);
    if (key == "unix_socket") names += ",--unix";
    command.option(names, &options->values[key],
                   std::string(field.field.meaning) + " (" + toml_text(field.value) + ")");
  }
  command.run([options] { serve(*options); });
}

}  // namespace macadam
