"""A realistic SaaS product to protect: thirteen tenants in all four layouts, with awkward data.

(Not called `platform`: that would hide the standard library's module of that name.)
"""

from .build import Platform, attach, build
from .plan import MEDIA_BUCKET, PLAN_PARAMETER, plan
from .roster import DATABASES, DELETED, LAYOUTS, TENANTS, Tenant, own_database, own_schema, pooled, silo

__all__ = [
    "DATABASES", "DELETED", "LAYOUTS", "MEDIA_BUCKET", "PLAN_PARAMETER", "TENANTS", "Platform", "Tenant", "attach", "build",
    "own_database", "own_schema", "plan", "pooled", "silo",
]
