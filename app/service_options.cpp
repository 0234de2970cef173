#include "app/service_options.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "app/console.h"
#include "app/streams.h"
#include "base/error.h"
#include "base/toml.h"

namespace macadam {

std::vector<std::string> ServiceOptions::overrides() const {
  std::vector<std::string> given;
  for (const auto& [key, value] : values) {
    if (value) given.push_back(key + "=" + *value);
  }
  return given;
}

void add_service_options(Command& command, const FieldList& fields,
                         const std::shared_ptr<ServiceOptions>& options, std::string_view but,
                         const std::map<std::string, std::string>& aliases) {
  command.option("--config", &options->file, "A TOML file of the options below");
  command.flag("--keys", options->keys, "Print the options as keys of the file, in Markdown");
  for (const DescribedField& field : fields.fields()) {
    const std::string key(field.field.key);
    if (key == but) continue;
    std::string names = "--" + key;
    std::ranges::replace(names, '_', '-');
    if (const auto alias = aliases.find(key); alias != aliases.end()) names += alias->second;
    command.option(names, &options->values[key],
                   std::string(field.field.meaning) + " (" + toml_text(field.value) + ")");
  }
}

LogFile::LogFile(const std::string& file) {
  if (file.empty()) return;
  descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (descriptor_ < 0) {
    throw InputError("the log cannot be written", file, "choose another --log");
  }
}

LogFile::~LogFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void LogFile::write(std::string_view line) {
  if (descriptor_ < 0) return say(line);
  const std::string whole = std::string(line) + "\n";
  const std::lock_guard lock(mutex_);
  write_text(descriptor_, whole);
}

}  // namespace macadam
