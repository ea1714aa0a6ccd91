#include "store/sqlite.h"

#include <sqlite3.h>

namespace forerun::store {
namespace {

constexpr int kBusyTimeoutMs = 5000;

}  // namespace

Statement::Statement(sqlite3* database, const char* text) {
  sqlite3_prepare_v2(database, text, -1, &statement_, nullptr);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int at, int64_t value) {
  sqlite3_bind_int64(statement_, at, value);
  return *this;
}

Statement& Statement::bind(int at, const std::string& text) {
  sqlite3_bind_text(statement_, at, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
  return *this;
}

Statement& Statement::bind(int at, ByteView bytes) {
  // A null pointer would be bound as NULL, which is not the same as no bytes.
  static constexpr char kNothing = 0;
  sqlite3_bind_blob64(statement_, at,
                      bytes.empty() ? static_cast<const void*>(&kNothing) : bytes.data(),
                      bytes.size(), SQLITE_TRANSIENT);
  return *this;
}

Statement::Step Statement::step() {
  if (statement_ == nullptr) return Step::kFailed;
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW:
      return Step::kRow;
    case SQLITE_DONE:
      return Step::kDone;
    default:
      return Step::kFailed;
  }
}

int64_t Statement::number(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Statement::text(int column) const {
  const auto* found = sqlite3_column_text(statement_, column);
  return found == nullptr ? "" : reinterpret_cast<const char*>(found);
}

ByteView Statement::bytes(int column) const {
  const void* found = sqlite3_column_blob(statement_, column);
  return {static_cast<const std::byte*>(found),
          static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

void Statement::reset() { sqlite3_reset(statement_); }

Result<std::unique_ptr<Database>> Database::open(const std::string& path, std::string_view what) {
  std::unique_ptr<Database> opened(new Database(path, what));
  const int code = sqlite3_open_v2(path.c_str(), &opened->handle_,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  if (code != SQLITE_OK) return opened->error("open");
  sqlite3_busy_timeout(opened->handle_, kBusyTimeoutMs);
  return opened;
}

Database::~Database() { sqlite3_close_v2(handle_); }

Status Database::run(const char* text) {
  if (sqlite3_exec(handle_, text, nullptr, nullptr, nullptr) != SQLITE_OK) return error(text);
  return {};
}

Status Database::finish(Statement& statement, std::string_view attempted) {
  if (statement.step() != Statement::Step::kDone) return error(attempted);
  return {};
}

Result<int64_t> Database::number(const char* text) {
  auto statement = prepare(text);
  if (statement.step() != Statement::Step::kRow) return error(text);
  return statement.number(0);
}

std::unexpected<Error> Database::error(std::string_view attempted) const {
  const int code = handle_ == nullptr ? SQLITE_NOMEM : sqlite3_errcode(handle_);
  const ErrorCode kind = code == SQLITE_FULL                               ? ErrorCode::kNoSpace
                         : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? ErrorCode::kCorrupt
                         : code == SQLITE_BUSY                             ? ErrorCode::kUnavailable
                                                                           : ErrorCode::kIo;
  return fail(kind, fmt::format("{} {}: {}: {}", what_, path_, attempted.substr(0, 60),
                                handle_ == nullptr ? "no memory" : sqlite3_errmsg(handle_)));
}

int64_t Database::last_id() const { return sqlite3_last_insert_rowid(handle_); }
int64_t Database::changed_rows() const { return sqlite3_changes(handle_); }

}  // namespace forerun::store
