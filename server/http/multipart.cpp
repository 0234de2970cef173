#include "server/http/multipart.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/http/message.h"

namespace macadam {

namespace {

constexpr size_t kLongestBoundary = 70;  // RFC 2046
constexpr size_t kLongestHead = 4096;

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// The value of a parameter of a field: `a; name="value"`.
std::optional<std::string> parameter_of(std::string_view field, std::string_view name) {
  for (size_t at = field.find(';'); at != std::string_view::npos; at = field.find(';')) {
    field.remove_prefix(at + 1);
    const size_t equals = field.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const bool wanted = same_field(trimmed(field.substr(0, equals)), name);
    field.remove_prefix(equals + 1);
    std::string value;
    if (field.starts_with('"')) {
      size_t i = 1;
      for (; i < field.size() && field[i] != '"'; ++i) {
        if (field[i] == '\\' && i + 1 < field.size()) ++i;
        value += field[i];
      }
      if (i >= field.size()) return std::nullopt;
      field.remove_prefix(i + 1);
    } else {
      value = trimmed(field.substr(0, field.find(';')));
    }
    if (wanted) return value;
  }
  return std::nullopt;
}

bool is_boundary(std::string_view text) {
  static constexpr std::string_view kOthers = "'()+_,-./:=? ";
  return !text.empty() && text.size() <= kLongestBoundary && text.back() != ' ' &&
         std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  kOthers.find(c) != std::string_view::npos;
         });
}

/// The fields of a part, up to its empty line.
bool read_fields(std::string_view head, BodyPart& part) {
  while (!head.empty()) {
    const size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end == std::string_view::npos ? head.size() : end + 2);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return false;
    const std::string_view name = line.substr(0, colon), value = trimmed(line.substr(colon + 1));
    if (same_field(name, "Content-Disposition")) {
      part.name = parameter_of(value, "name").value_or("");
    } else if (same_field(name, "Content-Type")) {
      part.content_type = value;
    }
  }
  return true;
}

}  // namespace

std::optional<std::string> multipart_boundary(std::string_view content_type) {
  const std::string_view type = trimmed(content_type.substr(0, content_type.find(';')));
  if (!same_field(type.substr(0, std::min<size_t>(type.size(), 10)), "multipart/")) {
    return std::nullopt;
  }
  auto boundary = parameter_of(content_type, "boundary");
  if (!boundary || !is_boundary(*boundary)) return std::nullopt;
  return boundary;
}

std::optional<std::vector<BodyPart>> parse_multipart(std::string_view body,
                                                     std::string_view boundary, size_t most) {
  const std::string first = fmt::format("--{}", boundary), next = fmt::format("\r\n--{}", boundary);
  if (!body.starts_with(first)) return std::nullopt;
  body.remove_prefix(first.size());
  std::vector<BodyPart> parts;
  while (!body.starts_with("--")) {
    if (!body.starts_with("\r\n") || parts.size() == most) return std::nullopt;
    body.remove_prefix(2);
    const std::string_view start = body.substr(0, kLongestHead);
    const bool bare = start.starts_with("\r\n");  // no fields
    const size_t head = bare ? 0 : start.find("\r\n\r\n");
    if (head == std::string_view::npos) return std::nullopt;
    BodyPart part;
    if (!read_fields(body.substr(0, head), part)) return std::nullopt;
    body.remove_prefix(head + (bare ? 2 : 4));
    const size_t end = body.find(next);
    if (end == std::string_view::npos) return std::nullopt;
    part.content = body.substr(0, end);
    parts.push_back(std::move(part));
    body.remove_prefix(end + next.size());
  }
  if (parts.empty()) return std::nullopt;
  return parts;
}

MultipartBody make_multipart(std::span<const SentPart> parts) {
  std::string boundary = "macadam-part";
  const auto occurs = [&](const SentPart& part) {
    return part.content.find(boundary) != std::string::npos;
  };
  for (int i = 1; std::ranges::any_of(parts, occurs); ++i) {
    boundary = fmt::format("macadam-part-{}", i);
  }
  MultipartBody made{fmt::format("multipart/mixed; boundary={}", boundary), {}};
  for (const SentPart& part : parts) {
    made.body += fmt::format(
        "--{}\r\nContent-Disposition: inline; name=\"{}\"\r\n"
        "Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
        boundary, part.name, part.content_type, part.content.size());
    made.body += part.content;
    made.body += "\r\n";
  }
  made.body += fmt::format("--{}--\r\n", boundary);
  return made;
}

}  // namespace macadam
