#include "server/service_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/toml.h"
#include "run/config_source.h"

namespace macadam {

ParameterTable load_service_table(const std::filesystem::path& file,
                                  std::span<const std::string> overrides) {
  constexpr size_t kMostBytes = size_t{1} << 20;
  ParameterTable table;
  if (!file.empty()) table = parse_toml(read_file(file, kMostBytes), file.string());
  return with_overrides(std::move(table), overrides);
}

void end_service_table(const FieldReader& reader) { reject_unknown(reader); }

std::string fields_markdown(const FieldList& list) {
  std::string text, section;
  for (const DescribedField& field : list.fields()) {
    if (field.section != section) {
      section = field.section;
      text += fmt::format("\n### {}\n\n| key | type | default | meaning |\n|---|---|---|---|\n",
                          section);
    }
    text += fmt::format("| `{}` | {} | `{}` | {} |\n", field.field.key, field.type,
                        toml_text(field.value), field.field.meaning);
  }
  return text;
}

std::chrono::milliseconds in_milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

std::string url_of(const std::string& host, int port) {
  const bool ipv6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", ipv6 ? "[" + host + "]" : host, port);
}

std::string read_token(const std::filesystem::path& file) {
  if (file.empty()) return {};
  constexpr size_t kMostBytes = 4096;
  std::string token = read_file(file, kMostBytes);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  const bool fit = !token.empty() &&
                   std::ranges::all_of(token, [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!fit) {
    throw InputError("a token is one line of printable characters without spaces", file.string(),
                     "write one, for example with: openssl rand -hex 32");
  }
  return token;
}

}  // namespace macadam
