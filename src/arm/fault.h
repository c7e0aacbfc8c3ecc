/* fault.h - what ARM answers when it refuses: one table of codes, and the writer of the body. */
#ifndef ARM_FAULT_H
#define ARM_FAULT_H

#include "arm/arm.h"

/*
 * id, HTTP status, `code` of the body. The codes are Azure's where one is known (ARM contract 1, 3, 4
 * and 8), else ours: those from INSUFFICIENT_CAPACITY on.
 */
/* clang-format off */
#define FAULT_TABLE(X)                                                         \
    X(BAD_REQUEST,               400, "BadRequest")                            \
    X(INVALID_CONTENT,           400, "InvalidRequestContent")                 \
    X(MISSING_API_VERSION,       400, "MissingApiVersionParameter")            \
    X(INVALID_API_VERSION,       400, "InvalidApiVersionParameter")            \
    X(INVALID_NAME,              400, "InvalidResourceName")                   \
    X(INVALID_PROPERTIES,        400, "InvalidResourceProperties")             \
    X(INVALID_FILTER,            400, "InvalidFilter")                         \
    X(INVALID_SKIP_TOKEN,        400, "InvalidSkipToken")                      \
    X(LOCATION_NOT_AVAILABLE,    400, "LocationNotAvailableForResourceType")   \
    X(LOCATION_REQUIRED,         400, "LocationRequired")                      \
    X(MODEL_NOT_SUPPORTED,       400, "DeploymentModelNotSupported")           \
    X(INVALID_CAPACITY,          400, "InvalidCapacity")                       \
    X(INSUFFICIENT_QUOTA,        400, "InsufficientQuota")                     \
    X(AUTHORIZATION_FAILED,      403, "AuthorizationFailed")                   \
    X(NOT_FOUND,                 404, "NotFound")                              \
    X(INVALID_RESOURCE_TYPE,     404, "InvalidResourceType")                   \
    X(INVALID_NAMESPACE,         404, "InvalidResourceNamespace")              \
    X(SUBSCRIPTION_NOT_FOUND,    404, "SubscriptionNotFound")                  \
    X(GROUP_NOT_FOUND,           404, "ResourceGroupNotFound")                 \
    X(RESOURCE_NOT_FOUND,        404, "ResourceNotFound")                      \
    X(DEPLOYMENT_NOT_FOUND,      404, "DeploymentNotFound")                    \
    X(ROLE_NOT_FOUND,            404, "RoleDefinitionDoesNotExist")            \
    X(METHOD_NOT_ALLOWED,        405, "MethodNotAllowed")                      \
    X(CONFLICT,                  409, "Conflict")                              \
    X(INVALID_LOCATION,          409, "InvalidResourceLocation")               \
    X(MUST_RESTORE,              409, "FlagMustBeSetForRestore")               \
    X(SUBDOMAIN_IN_USE,          409, "CustomDomainInUse")                     \
    X(ROLE_EXISTS,               409, "RoleAssignmentExists")                  \
    X(ROLE_UPDATE,               409, "RoleAssignmentUpdateNotPermitted")      \
    X(TOO_MANY_GROUPS,           409, "ResourceGroupQuotaExceeded")            \
    X(TOO_MANY_ASSIGNMENTS,      409, "RoleAssignmentLimitExceeded")           \
    X(PRECONDITION_FAILED,       412, "PreconditionFailed")                    \
    X(CONTENT_TOO_LARGE,         413, "RequestContentTooLarge")                \
    X(INSUFFICIENT_CAPACITY,     400, "InsufficientCapacity")                  \
    X(TOO_MANY_ACCOUNTS,         400, "AccountLimitReached")                   \
    X(TOO_MANY_DEPLOYMENTS,      400, "StandardDeploymentLimitReached")        \
    X(NOT_IN_FORCE,              400, "PropertyNotSupported")                  \
    X(IN_USE,                    409, "ResourceInUse")                         \
    X(URI_TOO_LONG,              414, "UriTooLong")
/* clang-format on */

enum fault {
#define FAULT_ENUM(id, http, code) FAULT_##id,
    FAULT_TABLE(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_COUNT
};

int fault_http(enum fault f);
struct str fault_code(enum fault f);

/* What a refusal carries beside its message; all optional. The last two are whole JSON arrays. */
struct fault_extra {
    struct str target, details, additional_info;
};

/* Makes `answer` this refusal, whatever stood in it. Always false, so that a check can end with it. */
bool fault_set(struct arm_answer *answer, enum fault f, const struct fault_extra *extra,
               const char *format, ...) PRINTF_LIKE(4, 5);

#endif
