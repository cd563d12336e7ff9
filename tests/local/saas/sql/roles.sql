-- The application's two roles, as a product has them: an owner nobody logs in as, and the role its servers use.
-- Run as the RDS master user, which then joins the owner role: that is how Holdfast may read and restore the data
-- without being a superuser. Variable: app_password.
CREATE ROLE app_owner NOLOGIN;
CREATE ROLE app_user LOGIN PASSWORD :'app_password';
SELECT format('GRANT app_owner TO %I', current_user) \gexec
