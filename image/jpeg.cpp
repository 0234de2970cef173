#include "image/jpeg.h"

#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

// They need <cstdio> and do not include it.
#include <jerror.h>
#include <jpeglib.h>

#include "base/error.h"

namespace macadam {

namespace {

/// libjpeg reports by calls that must not return. They jump back to Decoder::run.
struct Failure : jpeg_error_mgr {
  std::jmp_buf back;
  char reason[JMSG_LENGTH_MAX] = {};
  char oddity[JMSG_LENGTH_MAX] = {};  // the first warning that leaves the pixels whole
  bool ended_early = false;           // without an end marker
};

[[noreturn]] void give_up(j_common_ptr info) {
  auto& failure = static_cast<Failure&>(*info->err);
  failure.format_message(info, failure.reason);
  std::longjmp(failure.back, 1);
}

/// Whether the warning tells of something that costs no pixel: bytes that belong to nothing, a
/// missing end marker, markers of no consequence. Scan data that ends too early has another
/// warning, and stray bytes before a restart marker are lost data.
bool leaves_pixels_whole(const jpeg_error_mgr& error) {
  constexpr int kFirstRestart = 0xD0, kLastRestart = 0xD7;
  switch (error.msg_code) {
    case JWRN_EXTRANEOUS_DATA:
      return error.msg_parm.i[1] < kFirstRestart || error.msg_parm.i[1] > kLastRestart;
    case JWRN_JPEG_EOF:
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
    case JWRN_NOT_SEQUENTIAL: return true;
    default: return false;
  }
}

void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;  // tells of progress
  auto& failure = static_cast<Failure&>(*info->err);
  if (!leaves_pixels_whole(failure)) give_up(info);
  failure.ended_early = failure.ended_early || failure.msg_code == JWRN_JPEG_EOF;
  if (failure.oddity[0] == 0) failure.format_message(info, failure.oddity);
}

/// A small file can hold thousands of scans, each of which costs a pass over the whole image.
void limit_scans(j_common_ptr info) {
  constexpr int kMaxScans = 500;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto& failure = static_cast<Failure&>(*info->err);
  std::snprintf(failure.reason, sizeof failure.reason, "more than %d scans", kMaxScans);
  std::longjmp(failure.back, 1);
}

/// libjpeg's state, freed at the end; one that was never created is all zeros.
struct State : jpeg_decompress_struct {
  State() : jpeg_decompress_struct{} {}
  ~State() { jpeg_destroy_decompress(this); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

/// One decompression of libjpeg, of which every step may fail.
class Decoder {
 public:
  Decoder(std::span<const uint8_t> bytes, std::string_view name) : name_(name) {
    info_.err = jpeg_std_error(&failure_);
    failure_.error_exit = give_up;
    failure_.emit_message = on_message;
    const bool read = succeeds([&](jpeg_decompress_struct& info) {
      jpeg_create_decompress(&info);
      progress_.progress_monitor = limit_scans;
      info.progress = &progress_;
      jpeg_mem_src(&info, bytes.data(), bytes.size());
      jpeg_read_header(&info, TRUE);
    });
    // Its size is known then, and whoever asked compares it with a limit of his own.
    if (!read && failure_.msg_code != JERR_IMAGE_TOO_BIG) fail();
  }

  const jpeg_decompress_struct& info() const { return info_; }

  /// Runs `step(jpeg_decompress_struct&)`. Requires a step that keeps nothing that needs a
  /// destructor: a failure leaves it by longjmp. Throws InputError with libjpeg's reason.
  template <class Step>
  void run(const Step& step) {
    if (!succeeds(step)) fail();
  }

  /// Whether the file ended without its end marker before it had given all, where libjpeg takes
  /// what is there for the whole: it warns of scan data that ends too early only in Huffman coding,
  /// and not of scans that are missing. Requires that all rows were read.
  bool lacks_data() {
    if (!failure_.ended_early) return false;
    if (info_.arith_code) return true;
    if (!jpeg_has_multiple_scans(&info_)) return false;
    if (info_.coef_bits == nullptr) return true;  // not progressive: cannot tell
    for (int c = 0; c < info_.num_components; ++c) {
      for (int k = 0; k < DCTSIZE2; ++k) {
        if (info_.coef_bits[c][k] != 0) return true;
      }
    }
    return false;
  }

  /// Looks for the end marker behind the pixels. Returns what is odd about the file: the first
  /// warning, or why the end cannot be found; empty if all is well.
  std::string read_to_end() {
    if (setjmp(failure_.back) == 0) {
      jpeg_finish_decompress(&info_);
      return failure_.oddity;
    }
    return failure_.reason;
  }

  [[noreturn]] void throw_damaged(std::string_view reason) const {
    throw InputError(fmt::format("JPEG file is truncated or damaged ({})", reason), name_,
                     "copy or download the file again, or save it as an 8-bit JPEG or PNG");
  }

 private:
  template <class Step>
  bool succeeds(const Step& step) {
    if (setjmp(failure_.back) != 0) return false;
    step(info_);
    return true;
  }
  [[noreturn]] void fail() const {
    if (failure_.msg_code == JERR_OUT_OF_MEMORY) throw std::bad_alloc();
    throw_damaged(failure_.reason);
  }

  std::string_view name_;
  Failure failure_;
  jpeg_progress_mgr progress_{};
  State info_;
};

/// x * y / 255, rounded.
int multiply(int x, int y) { return (x * y + 127) / 255; }

/// One row of CMYK; `inverted` as Adobe writes it: 255 is no ink.
void convert_cmyk(const uint8_t* cmyk, int width, bool inverted, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4) {
    const int paper = inverted ? cmyk[3] : 255 - cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? 255 - cmyk[c] : cmyk[c];
      *rgb++ = static_cast<uint8_t>(paper - multiply(ink, paper));
    }
  }
}

}  // namespace

bool is_jpeg(std::span<const uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

JpegHeader read_jpeg_header(std::span<const uint8_t> bytes, std::string_view name) {
  const Decoder decoder(bytes, name);
  const auto& info = decoder.info();
  return {static_cast<int>(info.image_height), static_cast<int>(info.image_width),
          info.num_components};
}

Image decode_jpeg(std::span<const uint8_t> bytes, int reduction, std::string_view name,
                  std::string& oddity) {
  require(reduction == 1 || reduction == 2 || reduction == 4 || reduction == 8,
          "a JPEG is reduced to a half, a quarter or an eighth");
  Decoder decoder(bytes, name);
  const bool cmyk =
      decoder.info().jpeg_color_space == JCS_CMYK || decoder.info().jpeg_color_space == JCS_YCCK;
  decoder.run([&](jpeg_decompress_struct& info) {
    info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    info.scale_num = 1;
    info.scale_denom = static_cast<unsigned>(reduction);
    jpeg_calc_output_dimensions(&info);
  });
  Image image(static_cast<int>(decoder.info().output_height),
              static_cast<int>(decoder.info().output_width), 3);
  std::vector<uint8_t> inks(cmyk ? size_t{4} * decoder.info().output_width : 0);
  decoder.run([&](jpeg_decompress_struct& info) {
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
      uint8_t* pixels = image.at(static_cast<int>(info.output_scanline), 0);
      uint8_t* row = cmyk ? inks.data() : pixels;
      jpeg_read_scanlines(&info, &row, 1);
      if (cmyk) convert_cmyk(row, image.width, info.saw_Adobe_marker, pixels);
    }
  });
  if (decoder.lacks_data()) decoder.throw_damaged("it ends too early");
  oddity = decoder.read_to_end();
  return image;
}

}  // namespace macadam
